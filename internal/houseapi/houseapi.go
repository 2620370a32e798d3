// Package houseapi is what the provisioner answers to a provider's instances, and to web, as types. A question is a JSON
// request on a subject of the provider's account, or of the house's; the answer is one chunk of JSON, unless it says otherwise.
//
//	account    subject         request           answer
//	provider   house.disk      {}                Disk
//	house      house.senders   SendersRequest    Senders
//	house      house.survey    {}                Survey
//	house      house.manage    ManageRequest     Managed
//	house      house.logs      LogsRequest       chunks of text
package houseapi

// DiskSubject is the subject of the question whether there is room on the disks.
const DiskSubject = "house.disk"

// Disk says whether a disk that the log, the records or the keyspaces lie on is nearly full: then gateways are to wait,
// so that what is left is there for what was accepted already.
type Disk struct {
	Low    bool   `json:"low"`
	Detail string `json:"detail,omitempty"` // which, and how much is free
}
