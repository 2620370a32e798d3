package cli

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/api"
	"berth/provisioner/control"
	"berth/schema"
)

// rejects are the commands about what was refused.
func (a *app) rejects() *cobra.Command {
	cmd := &cobra.Command{Use: "rejects", Short: "What was refused of a provider's senders, to look at and to feed again", Args: group, RunE: help}
	var limit int
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List the newest rejects", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			var answer api.Rejects
			if err := c.Reports(cmd.Context(), http.MethodGet, args[0], "rejects?limit="+strconv.Itoa(limit), &answer); err != nil {
				return err
			}
			return a.print(&answer, func(w io.Writer) {
				sayln(w, "ID\tTIME\tGATEWAY\tFORMAT\tREADINGS\tBYTES\tREASON")
				for i := range answer.Rejects {
					r := &answer.Rejects[i]
					say(w, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", r.ID, r.Time.UTC().Format(time.RFC3339), or(r.Gateway), or(r.Format), r.Readings, bytesOf(r), oneLine(r.Reason))
				}
			})
		}),
	}
	list.Flags().IntVarP(&limit, "limit", "n", 50, "how many, up to 1000")
	cmd.AddCommand(list, a.keptShow("rejects"), a.keptFeed("rejects"), a.keptRemove("rejects"))
	return cmd
}

// aside are the commands about what was acknowledged and can never be stored.
func (a *app) aside() *cobra.Command {
	cmd := &cobra.Command{Use: "aside", Short: "What was acknowledged and cannot be stored or read, to look at and to feed again", Args: group, RunE: help}
	list := &cobra.Command{
		Use: "ls <provider>", Aliases: []string{"list"}, Short: "List what is set aside", Args: args(1), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			var answer api.Asides
			if err := c.Reports(cmd.Context(), http.MethodGet, args[0], "aside?limit=1000", &answer); err != nil {
				return err
			}
			return a.print(&answer, func(w io.Writer) {
				sayln(w, "ID\tTIME\tGATEWAY\tWHAT\tFORM\tREADINGS\tBYTES\tREASON")
				for i := range answer.Aside {
					r := &answer.Aside[i]
					say(w, "%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", r.ID, r.Time.UTC().Format(time.RFC3339), or(r.Gateway), r.What, r.Form, r.Readings, r.Kept, oneLine(r.Reason))
				}
			})
		}),
	}
	cmd.AddCommand(list, a.keptShow("aside"), a.keptFeed("aside"), a.keptRemove("aside"))
	return cmd
}

func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// bytesOf says how much of a reject is kept.
func bytesOf(r *api.Reject) string {
	if r.Whole() {
		return strconv.Itoa(r.Kept)
	}
	return fmt.Sprintf("%d of %d", r.Kept, r.Refused)
}

// oneLine returns a text as a cell of a table.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// keptShow prints what is known of an entry, or writes its bytes.
func (a *app) keptShow(shelf string) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use: "show <provider> <id>", Short: "Show one with all that is known of it, or its bytes as they came", Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			path := shelf + "/" + args[1]
			if raw {
				body, err := c.Stream(cmd.Context(), args[0], path+"/raw")
				if err != nil {
					return err
				}
				defer body.Close() //nolint:errcheck // only read
				_, err = io.Copy(a.Out, body)
				return err
			}
			var one map[string]any
			if err := c.Reports(cmd.Context(), http.MethodGet, args[0], path, &one); err != nil {
				return err
			}
			return a.json(a.Out, one)
		}),
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes themselves")
	return cmd
}

// keptFeed takes entries in again.
func (a *app) keptFeed(shelf string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "feed <provider> <id>...", Short: "Take them in again by the settings of now; feeding twice changes nothing", ValidArgsFunction: a.names,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || all == (len(args) > 1) {
				return schema.Errorf(schema.Invalid, "%s takes a provider, and IDs or --all", cmd.CommandPath()).WithNext("usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			ids := args[1:]
			if all {
				var err error
				if ids, err = a.keptIDs(cmd, c, shelf, args[0]); err != nil {
					return err
				}
			}
			fed := []api.Fed{}
			for _, id := range ids {
				var f api.Fed
				if err := c.Reports(cmd.Context(), http.MethodPost, args[0], shelf+"/"+id+"/feed", &f); err != nil {
					return err
				}
				fed = append(fed, f)
			}
			return a.print(fed, func(w io.Writer) {
				sayln(w, "ID\tSTORED\tREFUSED STILL\tREASON")
				for _, f := range fed {
					say(w, "%d\t%d\t%d\t%s\n", f.ID, f.Accepted, f.Rejected, or(oneLine(f.Reason)))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that is kept, the oldest first")
	return cmd
}

// keptIDs returns the IDs of all entries, the oldest first.
func (a *app) keptIDs(cmd *cobra.Command, c *control.Client, shelf, provider string) (ids []string, err error) {
	type entry struct {
		ID uint64 `json:"id"`
	}
	var page struct {
		Rejects []entry `json:"rejects"`
		Aside   []entry `json:"aside"`
		Next    uint64  `json:"next"`
	}
	for before := ""; ; before = fmt.Sprintf("&before=%d", page.Next) {
		page.Rejects, page.Aside, page.Next = nil, nil, 0
		if err := c.Reports(cmd.Context(), http.MethodGet, provider, shelf+"?limit=1000"+before, &page); err != nil {
			return nil, err
		}
		for _, e := range append(page.Rejects, page.Aside...) {
			ids = append([]string{strconv.FormatUint(e.ID, 10)}, ids...)
		}
		if page.Next == 0 {
			return ids, nil
		}
	}
}

// keptRemove removes an entry for good.
func (a *app) keptRemove(shelf string) *cobra.Command {
	return &cobra.Command{
		Use: "rm <provider> <id>", Aliases: []string{"remove"}, Short: "Remove one for good", Args: args(2), ValidArgsFunction: a.names,
		RunE: a.asking(func(cmd *cobra.Command, c *control.Client, args []string) error {
			var f api.Fed
			if err := c.Reports(cmd.Context(), http.MethodDelete, args[0], shelf+"/"+args[1], &f); err != nil {
				return err
			}
			return a.print(&f, func(w io.Writer) { say(w, "%d is removed.\n", f.ID) })
		}),
	}
}
