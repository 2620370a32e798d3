package provisioner

import (
	"os"

	"berth/internal/mail"
	"berth/schema"
)

// readMail reads the file with the settings of the mail server, and checks them; without a file there is none.
func readMail(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "the settings of mail cannot be read").WithNext("give --mail the file that has them").WithCause(err)
	}
	_, err = mail.Parse(text)
	return text, err
}
