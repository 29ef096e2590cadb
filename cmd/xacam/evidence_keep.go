package main

import (
	"path"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// retryAfter is how long a draft waits that the disk did not take.
const retryAfter = 2 * time.Second

// put stores a file of a package.
func (c *capturer) put(k *capture, typ, name string, data []byte, err error) {
	var ref events.EvidenceRef
	if err == nil {
		ref, err = c.store.Put(typ, name, k.draft.Event.OccurredAt, data)
	}
	if err != nil {
		k.flaw("the file %s could not be stored", path.Base(name))
		c.log.Error("a file of an evidence package cannot be stored", "event", k.draft.Event.ID, "file", name, "err", err)
		c.fail()
		return
	}
	k.draft.Files = append(k.draft.Files, ref)
}

// save stores the draft as it is now, and reports whether the disk has taken it.
func (c *capturer) save(k *capture) bool {
	if err := c.store.PutDraft(k.draft); err != nil {
		c.log.Error("the draft of an evidence package cannot be stored", "event", k.draft.Event.ID, "err", err)
		c.fail()
		return false
	}
	return true
}

// fail says that the disk did not take something, so that room is made.
func (c *capturer) fail() {
	if c.failed != nil {
		c.failed()
	}
}

func (c *capturer) hold(k *capture) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[k.draft.Event.ID] = true
}

// hand gives a complete package to the sealer. One that the disk does not take
// now is tried again.
func (c *capturer) hand(k *capture) {
	saved := c.save(k)
	c.mu.Lock()
	if !saved && len(c.unsaved) < mostCaptures {
		c.unsaved = append(c.unsaved, k)
		c.mu.Unlock()
		return
	}
	delete(c.held, k.draft.Event.ID)
	c.mu.Unlock()
	if !saved {
		c.log.Error("too many drafts wait for the disk: an evidence package has only what can be found by name", "event", k.draft.Event.ID)
		return
	}
	if c.finished != nil {
		c.finished(&k.draft)
	}
}

// retry tries the drafts that the disk has not taken, up to the first that it
// does not take now either.
func (c *capturer) retry(now time.Time) {
	c.retried = now
	c.mu.Lock()
	waiting := c.unsaved
	c.unsaved = nil
	c.mu.Unlock()
	for i, k := range waiting {
		c.hand(k)
		c.mu.Lock()
		stuck := len(c.unsaved) > 0
		if stuck {
			c.unsaved = append(c.unsaved, waiting[i+1:]...)
		}
		c.mu.Unlock()
		if stuck {
			return
		}
	}
}

// Late implements evidence.SealerConfig.Late: a draft that is still worked on
// waits, and one that nobody will finish gets the files that are there.
func (c *capturer) Late(d *evidence.Draft) bool {
	c.mu.Lock()
	held := c.held[d.Event.ID]
	c.mu.Unlock()
	if held || c.store.Certain() != nil {
		return false
	}
	if err := gather(c.store, d); err != nil {
		c.log.Error("some files of an evidence package cannot be found", "event", d.Event.ID, "err", err)
	}
	return true
}
