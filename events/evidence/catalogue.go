package evidence

import (
	"context"
	"time"

	"github.com/xacam/xacam/events"
)

// StoredFile is a stored file that is still there, with what decides how long.
type StoredFile struct {
	EventID string
	Ref     events.EvidenceRef
	Users   []User // every event that refers to the file
	Held    bool   // one of these is held for a case: it must stay
}

// User is an event that refers to a file, with what decides how long it is kept.
type User struct {
	Kind     events.Kind
	Severity events.Severity
	Verdict  string    // "" unless the event is closed
	At       time.Time // when it occurred
}

// Removal says which files go, and why.
type Removal struct {
	Paths  []string
	Reason string // "age", "quota", "disk", "request", "missing", "orphan"
	Actor  string // who decided; "xacam" for the server itself
}

// Cursor is a place in the list of files, oldest event first. The zero value
// is its beginning.
type Cursor struct{ EventID, Path string }

// Catalogue is what the store knows of files. Its errors wrap
// events.ErrUnavailable while it cannot be asked.
type Catalogue interface {
	// Files returns files that are there, of events that occurred before a
	// moment, oldest first, without manifests and their signatures, and where to go on; the cursor is
	// zero at the end.
	Files(ctx context.Context, after Cursor, before time.Time, limit int) ([]StoredFile, Cursor, error)
	// Remove notes that files are gone and writes the deletion log, in one
	// transaction. Files that are held, by now, are left out. It returns the
	// paths of the others: only those may be deleted.
	Remove(ctx context.Context, r Removal) ([]string, error)
	// AllFiles returns every file that is there, manifests too, by event and
	// path, and where to go on; the cursor is zero at the end. Of a file only
	// EventID and Ref are filled in.
	AllFiles(ctx context.Context, after Cursor, limit int) ([]StoredFile, Cursor, error)
	// Known reports which of the paths belong to an event and should be there.
	Known(ctx context.Context, paths []string) (map[string]bool, error)
	// Bytes returns the size of all files that are there.
	Bytes(ctx context.Context) (int64, error)
}
