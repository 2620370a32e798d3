package format

// prove reads ahead whether what follows the element is JSON; if it is not, that is the error. Only then may anything be
// taken up, since a payload that is refused whole must have no effect. Payloads that bring nothing new are read once.
func (r *jsonReader) prove() {
	rest, names := *r, len(r.names)
	for rest.listed && rest.more(']') {
		rest.unlisted()
	}
	rest.end()
	r.names = r.names[:names]
	r.proven = true
	if r.err = rest.err; r.err != nil {
		r.i = len(r.p)
	}
}

// unlisted reads an element of the array and forgets it.
func (r *jsonReader) unlisted() {
	if r.peek() == '{' {
		r.object(ignored, nil, 1)
	} else {
		r.ignore(1)
	}
}
