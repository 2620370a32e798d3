// Command web is the front door: sign-in, pages, and the API towards the outside. The provisioner starts it; its exit
// codes are those of package service.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"berth/cmd/internal/service"
	"berth/internal/credentials"
	"berth/internal/httpserver"
	"berth/internal/mail"
	"berth/schema"
	"berth/web"
)

func main() {
	var flags service.Flags
	var options web.Options
	var secret, mailFile, cert, key string
	var proxies []string
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the pages and the API",
		RunE: func(cmd *cobra.Command, _ []string) error {
			creds, err := flags.Credentials()
			if err != nil {
				return err
			}
			if options.HouseSecret, err = credentials.LoadSecret(secret); err != nil {
				return err
			}
			if options.Mail, err = readMail(mailFile); err != nil {
				return err
			}
			if options.Front.Proxies, err = httpserver.ParseProxies(proxies); err != nil {
				return err
			}
			for path, to := range map[string]*[]byte{cert: &options.Front.Cert, key: &options.Front.Key} {
				if *to, err = readPEM(path); err != nil {
					return err
				}
			}
			options.Bus, options.Credentials = flags.Bus, creds
			if options.Trust, err = flags.Trust(); err != nil {
				return err
			}
			options.Instance, options.Spec = flags.Instance, flags.Spec
			options.Logger = flags.Logger(os.Stderr, cmd.Name(), "")
			instance, err := web.New(options)
			if err != nil {
				return err
			}
			return flags.Run(cmd.Context(), instance, nil, nil)
		},
	}
	flags.Add(cmd.Flags())
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:8080", "host:port of the pages; port 0 is any")
	cmd.Flags().StringVar(&secret, "house-secret", "", "file with the secret that seals enrolment keys")
	cmd.Flags().StringVar(&mailFile, "mail", "", "file with the mail server that scheduled reports go by; empty: none")
	cmd.Flags().StringVar(&options.PublicHost, "host", "", "host whose ports gateways send to; unspecified: the one that the browser asked")
	cmd.Flags().IntVar(&options.PortBase, "port-base", 6000, "a provider's port is this and its slot")
	cmd.Flags().StringVar(&cert, "tls-cert", "", "file with the certificate of the pages; empty: plain HTTP")
	cmd.Flags().StringVar(&key, "tls-key", "", "file with that certificate's key")
	cmd.Flags().StringSliceVar(&proxies, "proxies", nil, "addresses and networks of proxies whose X-Forwarded-For, -Proto and -Host are believed")
	cmd.Flags().StringVar(&options.Front.Base, "base", "", "path of a site that the pages are below, such as /berth")
	os.Exit(service.Main(cmd))
}

// readPEM reads a file of the certificate's; without one there is nothing.
func readPEM(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "%s cannot be read", path).WithNext("give --tls-cert and --tls-key files of PEM").WithCause(err)
	}
	return text, nil
}

// readMail reads the settings of the mail server; without a file there is none.
func readMail(path string) (mail.Options, error) {
	if path == "" {
		return mail.Options{}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return mail.Options{}, schema.Errorf(schema.Invalid, "the settings of mail cannot be read").WithNext("give --mail the file that has them").WithCause(err)
	}
	return mail.Parse(text)
}
