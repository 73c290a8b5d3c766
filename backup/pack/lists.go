package pack

import "io"

// idReader yields a list of chunk ids as bytes.
type idReader struct {
	ids []ID
	off int // bytes of the first id that were read
}

func (r *idReader) Read(p []byte) (n int, err error) {
	for len(r.ids) > 0 && n < len(p) {
		k := copy(p[n:], r.ids[0][r.off:])
		n += k
		if r.off += k; r.off == len(r.ids[0]) {
			r.ids, r.off = r.ids[1:], 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// partsReader yields slices one after the other.
type partsReader struct{ parts [][]byte }

func (r *partsReader) Read(p []byte) (n int, err error) {
	for len(r.parts) > 0 && n < len(p) {
		k := copy(p[n:], r.parts[0])
		n += k
		if r.parts[0] = r.parts[0][k:]; len(r.parts[0]) == 0 {
			r.parts = r.parts[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// locatedReader yields a list of located chunks as bytes.
type locatedReader struct {
	chunks []located
	rest   []byte
}

func (r *locatedReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			if len(r.chunks) == 0 {
				break
			}
			l := r.chunks[0]
			r.chunks = r.chunks[1:]
			r.rest = l.record.append(l.packHead.append(r.rest[:0], 1))
		}
		k := copy(p[n:], r.rest)
		n += k
		r.rest = r.rest[k:]
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
