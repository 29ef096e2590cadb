// Package schedule says when a rule is active: hours of the day and days of the
// week in local time, holidays included.
//
// A schedule is a list of entries separated by ";". An entry is days, hours or
// both:
//
//	22:00-05:00                          every night; belongs to the day it begins on
//	mon-fri 07:00-11:00,13:00-17:00
//	sat,sun; holiday 00:00-24:00         all weekend, and holidays
//	mon-sat,!holiday 06:00-18:00         not on holidays
//
// Days are mon tue wed thu fri sat sun, ranges of them (fri-mon wraps around),
// "daily", "holiday" and "!holiday". Hours are HH:MM-HH:MM on the 24 h clock,
// from inclusive, to exclusive, 24:00 being the end of the day; a range whose
// end is before its start goes on after midnight.
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of a schedule.
const (
	MaxLength  = 500 // bytes
	maxEntries = 32
	maxRanges  = 16 // of hours in an entry
)

const day = 24 * 60

// Schedule is a set of times of the week. The zero value is every time. It
// never changes; safe for concurrent use.
type Schedule struct {
	entries []entry
	text    string
}

type entry struct {
	days      uint8 // bit of each time.Weekday
	holiday   bool  // holidays too, whatever the weekday
	noHoliday bool  // never on a holiday
	hours     []hours
}

// hours in minutes from local midnight: from in [0,1440), to in (0,1440].
type hours struct{ from, to int }

// Calendar is where and when local days are. The zero value is UTC without
// holidays.
type Calendar struct {
	Location *time.Location
	Holidays Holidays
}

// local returns t on the local clock.
func (c Calendar) local(t time.Time) time.Time {
	if c.Location == nil {
		return t.UTC()
	}
	return t.In(c.Location)
}

// Always reports whether the schedule is empty and so never closed.
func (s Schedule) Always() bool { return len(s.entries) == 0 }

// String returns what was parsed, with spaces tidied; "" for the zero value.
func (s Schedule) String() string { return s.text }

// Open reports whether t is in the schedule. Local clocks decide: where a clock
// is put back, an hour counts twice.
func (s Schedule) Open(t time.Time, c Calendar) bool {
	if s.Always() {
		return true
	}
	l := c.local(t)
	minute := l.Hour()*60 + l.Minute()
	today := dayOf(l, c)
	yesterday := dayOf(time.Date(l.Year(), l.Month(), l.Day()-1, 12, 0, 0, 0, time.UTC), c)
	for _, e := range s.entries {
		for _, h := range e.hours {
			switch {
			case h.from < h.to:
				if minute >= h.from && minute < h.to && e.on(today) {
					return true
				}
			case minute >= h.from && e.on(today), minute < h.to && e.on(yesterday):
				return true
			}
		}
	}
	return false
}

type date struct {
	weekday time.Weekday
	holiday bool
}

func dayOf(l time.Time, c Calendar) date { return date{l.Weekday(), c.Holidays.on(l)} }

func (e entry) on(d date) bool {
	if d.holiday && (e.holiday || e.noHoliday) {
		return e.holiday
	}
	return e.days>>d.weekday&1 == 1
}

// Parse reads a schedule. "" is the zero value. Errors quote the part that is
// wrong and say what is expected.
func Parse(text string) (Schedule, error) {
	if len(text) > MaxLength {
		return Schedule{}, fmt.Errorf("is %d bytes long, at most %d are allowed", len(text), MaxLength)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return Schedule{}, nil
	}
	parts := strings.Split(text, ";")
	if len(parts) > maxEntries {
		return Schedule{}, fmt.Errorf("has %d entries, at most %d are allowed", len(parts), maxEntries)
	}
	var s Schedule
	for i, p := range parts {
		e, tidy, err := parseEntry(p)
		if err != nil {
			return Schedule{}, err
		}
		s.entries = append(s.entries, e)
		parts[i] = tidy
	}
	s.text = strings.Join(parts, "; ")
	return s, nil
}

func parseEntry(p string) (entry, string, error) {
	words := strings.Fields(strings.ReplaceAll(p, ",", " , "))
	var days, times []string
	last := ","
	for _, w := range words {
		switch {
		case w == ",":
			if last == "," {
				return entry{}, "", fmt.Errorf("%q: nothing before a comma", strings.TrimSpace(p))
			}
		case w[0] >= '0' && w[0] <= '9':
			if (last == ",") != (len(times) > 0 || len(days) == 0) {
				return entry{}, "", fmt.Errorf("%q: write days, a space, and hours separated by commas", strings.TrimSpace(p))
			}
			times = append(times, w)
		default:
			if len(times) > 0 || last != "," {
				return entry{}, "", fmt.Errorf("%q: separate days by commas and entries by \";\"", strings.TrimSpace(p))
			}
			days = append(days, strings.ToLower(w))
		}
		last = w
	}
	if last == "," {
		return entry{}, "", fmt.Errorf("%q: an entry needs hours (22:00-05:00) or days (mon-fri)", strings.TrimSpace(p))
	}
	e, err := newEntry(days, times)
	tidy := strings.TrimSpace(strings.Join(days, ",") + " " + strings.Join(times, ","))
	return e, tidy, err
}

func newEntry(days, times []string) (entry, error) {
	var e entry
	for _, d := range days {
		if err := e.addDay(d); err != nil {
			return entry{}, err
		}
	}
	switch {
	case e.holiday && e.noHoliday:
		return entry{}, errors.New(`"holiday" and "!holiday" in one entry`)
	case e.days == 0 && !e.holiday:
		e.days = 0x7f // hours only, or every day but holidays
	}
	if len(times) > maxRanges {
		return entry{}, fmt.Errorf("%d ranges of hours in one entry, at most %d are allowed", len(times), maxRanges)
	}
	for _, t := range times {
		h, err := parseHours(t)
		if err != nil {
			return entry{}, err
		}
		e.hours = append(e.hours, h)
	}
	if len(times) == 0 {
		e.hours = []hours{{0, day}}
	}
	return e, nil
}

func (e *entry) addDay(d string) error {
	switch d {
	case "holiday":
		e.holiday = true
		return nil
	case "!holiday":
		e.noHoliday = true
		return nil
	case "daily":
		e.days = 0x7f
		return nil
	}
	first, last, isRange := strings.Cut(d, "-")
	from, ok := weekday(first)
	to, ok2 := from, true
	if isRange {
		to, ok2 = weekday(last)
	}
	if !ok || !ok2 {
		return fmt.Errorf("%q is not a day: use mon tue wed thu fri sat sun, mon-fri, daily, holiday or !holiday", d)
	}
	for n := from; ; n = (n + 1) % 7 {
		e.days |= 1 << n
		if n == to {
			return nil
		}
	}
}

func weekday(s string) (int, bool) {
	for i, n := range [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
		if s == n {
			return i, true
		}
	}
	return 0, false
}

func parseHours(s string) (hours, error) {
	a, b, ok := strings.Cut(s, "-")
	from, ok1 := clock(a)
	to, ok2 := clock(b)
	if !ok || !ok1 || !ok2 || from == day {
		return hours{}, fmt.Errorf("%q is not a range of hours: write 22:00-05:00", s)
	}
	if from == to {
		return hours{}, fmt.Errorf("%q is empty: for the entire day write 00:00-24:00", s)
	}
	if to == 0 {
		to = day // 22:00-00:00 ends at midnight
	}
	return hours{from, to}, nil
}

// clock reads H:MM or HH:MM and returns minutes from midnight, 1440 for 24:00.
func clock(s string) (int, bool) {
	h, m, ok := strings.Cut(s, ":")
	hh, ok1 := digits(h, 1)
	mm, ok2 := digits(m, 2)
	if !ok || !ok1 || !ok2 || mm > 59 || hh > 24 || hh == 24 && mm > 0 {
		return 0, false
	}
	return hh*60 + mm, true
}

// digits reads a number of atLeast to 2 decimal digits.
func digits(s string, atLeast int) (int, bool) {
	if len(s) < atLeast || len(s) > 2 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
