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
	cal := schedule.Calendar{Location: vietnam(), Holidays: schedule.Holidays{"2026-09-02": true}} // a Wednesday
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

// TestHolidays: holidays of each year, single ones and several days.
func TestHolidays(t *testing.T) {
	t.Parallel()
	h, err := schedule.ParseHolidays([]string{"09-02", "02-29", " 2027-04-16 ", "2026-12-30 .. 2027-01-02"})
	require.NoError(t, err)
	cal := schedule.Calendar{Location: vietnam(), Holidays: h}
	s, err := schedule.Parse("holiday 20:00-02:00")
	require.NoError(t, err)
	for text, want := range map[string]bool{
		"2026-09-02 21:00": true, "2031-09-02 21:00": true, "2026-09-03 01:59": true, "2026-09-03 02:00": false,
		"2026-09-01 21:00": false, "2028-02-29 21:00": true, "2027-02-28 21:00": false, "2027-03-01 21:00": false,
		"2027-04-16 20:00": true, "2028-04-16 20:00": false,
		"2026-12-29 21:00": false, "2026-12-30 21:00": true, "2027-01-02 21:00": true, "2027-01-03 01:00": true, "2027-01-03 21:00": false,
		"2026-09-02 01:00": false, // the night belongs to the day before
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", text, vietnam())
		require.NoError(t, err)
		assert.Equal(t, want, s.Open(at.UTC(), cal), text)
	}
	// 17:30 UTC on 1 September is a holiday's 00:30 here.
	s, err = schedule.Parse("holiday")
	require.NoError(t, err)
	assert.True(t, s.Open(time.Date(2026, 9, 1, 17, 30, 0, 0, time.UTC), cal))
	assert.False(t, s.Open(time.Date(2026, 9, 2, 17, 30, 0, 0, time.UTC), cal))

	for text, want := range map[string]string{
		"31-12": "is not a day", "2-9": "is not a day", "": "is not a day", "2026-02-30": "is not a day",
		"2027-02-09..2027-02-05": "ends before it begins", "2020-01-01..2027-02-05": "longer than a year", "09-02..09-03": "is not a day",
	} {
		_, err := schedule.ParseHolidays([]string{"01-01", text})
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "entry 2")
	}
	_, err = schedule.ParseHolidays([]string{"2020-01-01..2020-12-31", "2021-01-01..2021-12-31", "2022-01-01..2022-12-31", "2023-01-01..2023-12-31", "2024-01-01..2024-12-31", "2025-01-01..2025-12-31"})
	require.ErrorContains(t, err, "at most 2000")
	h, err = schedule.ParseHolidays(nil)
	require.NoError(t, err)
	assert.Empty(t, h)
}

// TestClockPutBack: where clocks are put back an hour counts twice, and where
// they go forward the hours that do not exist harm nothing.
func TestClockPutBack(t *testing.T) {
	t.Parallel()
	paris, err := time.LoadLocation("Europe/Paris")
	require.NoError(t, err)
	s, err := schedule.Parse("sun 02:15-02:45")
	require.NoError(t, err)
	cal := schedule.Calendar{Location: paris}
	first := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC) // 02:30 summer time
	assert.True(t, s.Open(first, cal))
	assert.True(t, s.Open(first.Add(time.Hour), cal), "02:30 again")
	assert.False(t, s.Open(first.Add(2*time.Hour), cal))
	spring := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	for m := range 180 {
		assert.False(t, s.Open(spring.Add(time.Duration(m)*time.Minute), cal))
	}
}

func FuzzParseHolidays(f *testing.F) {
	f.Add("09-02")
	f.Add("2027-02-05..2027-02-09")
	f.Add("0000-01-01..0000-12-31")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := schedule.ParseHolidays([]string{text})
		if (err == nil) == (len(h) == 0) {
			t.Fatalf("%q: %d days, %v", text, len(h), err)
		}
	})
}
