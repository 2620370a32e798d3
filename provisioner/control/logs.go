package control

import (
	"context"
	"encoding/json"
	"slices"

	"berth/internal/houseapi"
	"berth/provisioner/plan"
	"berth/provisioner/runtime"
	"berth/schema"
	"berth/schema/record"
)

// AnswerLogs answers web with what an instance wrote, and follows it if asked. It goes by a provider and a role, not by a
// name, and of a provider that there is.
func (s *Server) AnswerLogs(ctx context.Context, request []byte, reply func([]byte) error) error {
	var q houseapi.LogsRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return schema.Errorf(schema.Invalid, "the question cannot be read").WithCause(err)
	}
	switch {
	case q.Lines < 1 || q.Lines > houseapi.LogLines:
		return schema.Errorf(schema.Invalid, "%d is no number of lines from 1 to %d", q.Lines, houseapi.LogLines)
	case q.Provider == "" && q.Role != record.RoleWeb, q.Provider != "" && !slices.Contains(plan.Roles(), q.Role):
		return noRole(q.Role)
	case q.Provider != "":
		if _, err := s.o.House.Active(ctx, q.Provider); err != nil {
			return err
		}
	}
	if q.Follow {
		if s.followers.Add(1) > houseapi.LogFollowers {
			s.followers.Add(-1)
			return schema.Errorf(schema.Limited, "%d follow logs already", houseapi.LogFollowers).WithNext("close a page of logs, or use provisioner logs")
		}
		defer s.followers.Add(-1)
	}
	out := writerFunc(func(p []byte) (int, error) {
		if err := reply(p); err != nil {
			return 0, err
		}
		return len(p), nil
	})
	name := plan.Unit{Provider: q.Provider, Role: q.Role}.Name()
	return s.o.Runtime.Logs(ctx, name, runtime.LogOptions{Lines: q.Lines, Follow: q.Follow}, out)
}
