package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Holidays are local days: "2006-01-02", or "01-02" for each year.
type Holidays map[string]bool

const (
	everyYear   = "01-02"
	maxHolidays = 2000 // days
)

// on reports whether the local day of l is a holiday.
func (h Holidays) on(l time.Time) bool {
	return len(h) > 0 && (h[l.Format(time.DateOnly)] || h[l.Format(everyYear)])
}

// ParseHolidays reads a list of days, each of the form
//
//	09-02                    2 September of each year
//	2027-04-16               one day
//	2027-02-05..2027-02-09   all days from the first to the last
//
// Errors quote the entry that is wrong; several are joined.
func ParseHolidays(list []string) (Holidays, error) {
	h := make(Holidays, len(list))
	var errs []error
	for i, text := range list {
		if err := h.add(strings.TrimSpace(text)); err != nil {
			errs = append(errs, fmt.Errorf("entry %d: %w", i+1, err))
		}
	}
	if len(h) > maxHolidays {
		errs = append(errs, fmt.Errorf("%d days, at most %d are allowed", len(h), maxHolidays))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

func (h Holidays) add(text string) error {
	// 2000 had a 29 February.
	if t, err := time.Parse(time.DateOnly, "2000-"+text); err == nil {
		h[t.Format(everyYear)] = true
		return nil
	}
	first, last, isRange := strings.Cut(text, "..")
	if !isRange {
		last = first
	}
	from, err1 := time.Parse(time.DateOnly, strings.TrimSpace(first))
	to, err2 := time.Parse(time.DateOnly, strings.TrimSpace(last))
	switch {
	case err1 != nil || err2 != nil:
		return fmt.Errorf("%.40q is not a day: write 09-02, 2027-04-16 or 2027-02-05..2027-02-09", text)
	case to.Before(from):
		return fmt.Errorf("%.40q ends before it begins", text)
	case to.Sub(from) > 366*24*time.Hour:
		return fmt.Errorf("%.40q is longer than a year", text)
	}
	for d := from; !d.After(to); d = d.AddDate(0, 0, 1) {
		h[d.Format(time.DateOnly)] = true
	}
	return nil
}
