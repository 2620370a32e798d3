package control

import (
	"slices"

	"berth/schema"
	"berth/schema/record"
)

// applyTopics adds or removes a rule of topics. The list is made anew, since records share it.
func (c SettingsChange) applyTopics(s *record.Settings) error {
	if rule := c.AddTopic; rule != nil {
		if err := rule.CheckFormat(); err != nil {
			return err
		}
		s.Topics = slices.Clone(s.Topics)
		at := slices.IndexFunc(s.Topics, func(r record.TopicRule) bool { return r.Pattern == rule.Pattern })
		if at >= 0 && c.FirstTopic {
			s.Topics = slices.Delete(s.Topics, at, at+1)
		}
		switch {
		case c.FirstTopic:
			s.Topics = slices.Insert(s.Topics, 0, *rule)
		case at >= 0:
			s.Topics[at] = *rule
		default:
			s.Topics = append(s.Topics, *rule)
		}
	}
	if c.RemoveTopic != nil {
		rest := slices.DeleteFunc(slices.Clone(s.Topics), func(r record.TopicRule) bool { return r.Pattern == *c.RemoveTopic })
		if len(rest) == len(s.Topics) {
			return schema.Errorf(schema.NotFound, "there is no topic %q", *c.RemoveTopic).WithNext("provisioner topic ls shows them")
		}
		if s.Topics = rest; len(rest) == 0 {
			s.Topics = nil
		}
	}
	return nil
}
