package provisioner

import (
	"context"

	"berth/internal/houseapi"
	"berth/provisioner/control"
)

// answerWeb begins to answer what web asks for people who are signed in.
func (p *Provisioner) answerWeb(api *control.Server) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for subject, answer := range map[string]func(context.Context, []byte, func([]byte) error) error{
		houseapi.SendersSubject: api.AnswerSenders, houseapi.ManageSubject: api.AnswerManage, houseapi.LogsSubject: api.AnswerLogs,
	} {
		one, err := p.conn.Answer(subject, answer)
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, one)
	}
	return stop, nil
}
