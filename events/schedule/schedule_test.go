package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/schedule"
)

func vietnam() *time.Location { return time.FixedZone("+07", 7*3600) }

func TestOpen(t *testing.T) {
	t.Parallel()
	cal := schedule.Calendar{Location: vietnam(), Holidays: map[string]bool{"2026-09-02": true}} // a Wednesday
	for _, tt := range []struct {
		schedule   string
		open       string // local times, separated by commas
		notOpen    string
		wantTidied string
	}{
		{schedule: "", open: "2026-01-01 00:00"},
		{schedule: "22:00-05:00", open: "2026-11-23 22:00,2026-11-24 04:59,2026-11-23 00:00,2026-11-23 23:59", notOpen: "2026-11-23 21:59,2026-11-23 05:00"},
		// 2026-11-27 is a Friday.
		{schedule: "fri 22:00-05:00", open: "2026-11-27 22:00,2026-11-28 04:59", notOpen: "2026-11-27 04:00,2026-11-28 22:00"},
		{schedule: "mon-fri 07:00-11:00, 13:00-17:00", open: "2026-11-23 07:00,2026-11-27 16:59", notOpen: "2026-11-23 11:00,2026-11-23 12:59,2026-11-28 08:00", wantTidied: "mon-fri 07:00-11:00,13:00-17:00"},
		{schedule: "sat , sun;holiday", open: "2026-11-28 00:00,2026-11-29 23:59,2026-09-02 12:00", notOpen: "2026-11-27 23:59,2026-11-30 00:00", wantTidied: "sat,sun; holiday"},
		{schedule: "!holiday 06:00-18:00", open: "2026-09-01 06:00", notOpen: "2026-09-02 06:00,2026-09-01 18:00"},
		{schedule: "wed,!holiday 22:00-02:00", open: "2026-11-25 23:00,2026-11-26 01:00", notOpen: "2026-09-02 23:00,2026-09-03 01:00"},
		{schedule: "holiday 22:00-02:00", open: "2026-09-02 23:00,2026-09-03 01:00", notOpen: "2026-09-02 01:00,2026-09-03 23:00"},
		{schedule: "fri-mon", open: "2026-11-27 12:00,2026-11-30 12:00", notOpen: "2026-11-26 12:00,2026-12-01 12:00"},
		{schedule: "DAILY 8:00-24:00", open: "2026-11-26 23:59", notOpen: "2026-11-26 07:59", wantTidied: "daily 8:00-24:00"},
		{schedule: "22:00-00:00", open: "2026-11-26 23:59", notOpen: "2026-11-26 00:00"},
	} {
		t.Run(tt.schedule, func(t *testing.T) {
			t.Parallel()
			s, err := schedule.Parse(tt.schedule)
			require.NoError(t, err)
			if tt.wantTidied == "" {
				tt.wantTidied = tt.schedule
			}
			assert.Equal(t, tt.wantTidied, s.String())
			assert.Equal(t, tt.schedule == "", s.Always())
			for list, want := range map[string]bool{tt.open: true, tt.notOpen: false} {
				for text := range strings.SplitSeq(list, ",") {
					if text == "" {
						continue
					}
					at, err := time.ParseInLocation("2006-01-02 15:04", text, vietnam())
					require.NoError(t, err)
					assert.Equal(t, want, s.Open(at.UTC(), cal), text)
				}
			}
		})
	}
	s, err := schedule.Parse("22:00-05:00")
	require.NoError(t, err)
	assert.True(t, s.Open(time.Date(2026, 1, 1, 23, 0, 0, 0, vietnam()), cal))
	assert.False(t, s.Open(time.Date(2026, 1, 1, 23, 0, 0, 0, vietnam()), schedule.Calendar{}), "16:00 UTC")
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"22:00":                    `"22:00" is not a range of hours: write 22:00-05:00`,
		"22-05":                    "not a range of hours",
		"25:00-05:00":              "not a range of hours",
		"22:60-05:00":              "not a range of hours",
		"24:00-05:00":              "not a range of hours",
		"22:00-22:00":              "for the entire day write 00:00-24:00",
		"mon 22:00-05:00 tue":      "separate days by commas",
		"mon tue":                  "separate days by commas",
		"mon,22:00-05:00":          "write days, a space",
		"22:00-05:00 6:00-7:00":    "write days, a space",
		"thứ-hai 22:00-05:00":      `"thứ-hai" is not a day`,
		"mon-":                     "is not a day",
		"holiday,!holiday":         "in one entry",
		";":                        "needs hours",
		"mon,":                     "needs hours",
		",mon":                     "nothing before a comma",
		"22:00-05:00;":             "needs hours",
		strings.Repeat("x", 501):   "501 bytes",
		strings.Repeat("mon;", 40): "41 entries",
		"１0:00-11:00":              "is not a day",
	} {
		_, err := schedule.Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"22:00-05:00", "mon-fri,!holiday 07:00-11:00,13:00-17:00; sat", "daily", "holiday 0:00-24:00", ",;-:"} {
		f.Add(s, int64(1790000000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := schedule.Parse(text)
		if err != nil {
			return
		}
		again, err := schedule.Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q became %q: %v", text, s, err)
		}
		at := time.Unix(unix%(1<<36), 0)
		if s.Open(at, schedule.Calendar{Location: vietnam()}) != again.Open(at, schedule.Calendar{Location: vietnam()}) {
			t.Fatal("another meaning after writing it back")
		}
	})
}
