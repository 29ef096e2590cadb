package mot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ReadDetections reads a det.txt: seven to ten columns, of which the second is
// not looked at. Rows come in the order of the file. A line that is not of the
// format is a *LineError; blank lines and CRLF are accepted.
func ReadDetections(r io.Reader) ([]Row, error) {
	rows, err := readRows(r, 7)
	if err != nil {
		return nil, fmt.Errorf("read detections: %w", err)
	}
	for i := range rows {
		rows[i].ID = -1
	}
	return rows, nil
}

// ReadTracks reads a gt.txt or a res.txt: seven to ten columns with an identity
// that is not negative and occurs at most once per frame. The eighth column
// becomes Row.Class where it is a whole number from 1 to 100, else -1 (MOT15
// has a world coordinate there). Errors are as in ReadDetections.
func ReadTracks(r io.Reader) ([]Row, error) {
	rows, err := readRows(r, 7)
	if err != nil {
		return nil, fmt.Errorf("read tracks: %w", err)
	}
	type key struct {
		frame int
		id    int64
	}
	seen := make(map[key]struct{}, len(rows))
	for _, row := range rows {
		if row.ID < 0 {
			return nil, fmt.Errorf("read tracks: frame %d has the identity %d: %w", row.Frame, row.ID, ErrFormat)
		}
		k := key{row.Frame, row.ID}
		if _, twice := seen[k]; twice {
			return nil, fmt.Errorf("read tracks: frame %d has identity %d twice: %w", row.Frame, row.ID, ErrFormat)
		}
		seen[k] = struct{}{}
	}
	return rows, nil
}

func readRows(r io.Reader, atLeast int) ([]Row, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, maxLine), maxLine)
	var rows []Row
	line := 0
	for sc.Scan() {
		line++
		text := strings.TrimSpace(sc.Text())
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text == "" {
			continue
		}
		if len(rows) == MaxRows {
			return nil, &LineError{line, fmt.Sprintf("more than %d objects", MaxRows)}
		}
		row, err := parseRow(text, atLeast)
		if err != nil {
			return nil, &LineError{line, err.Error()}
		}
		rows = append(rows, row)
	}
	if err := sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, &LineError{line + 1, fmt.Sprintf("longer than %d bytes", maxLine)}
	} else if err != nil {
		return nil, err
	}
	return rows, nil
}

func parseRow(text string, atLeast int) (Row, error) {
	var f [10]float64
	n := 0
	for field := range strings.SplitSeq(text, ",") {
		if n == len(f) {
			return Row{}, errors.New("more than 10 columns")
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return Row{}, fmt.Errorf("column %d is not a number: %.40q", n+1, field)
		}
		f[n] = x
		n++
	}
	if n < atLeast {
		return Row{}, fmt.Errorf("%d columns, want at least %d", n, atLeast)
	}
	switch {
	case f[0] != math.Trunc(f[0]) || f[0] < 1 || f[0] > MaxFrame:
		return Row{}, fmt.Errorf("frame %v is not a whole number from 1 to %d", f[0], MaxFrame)
	case f[1] != math.Trunc(f[1]) || math.Abs(f[1]) > maxID:
		return Row{}, fmt.Errorf("identity %v is not a whole number", f[1])
	case math.Abs(f[2]) > maxPixel || math.Abs(f[3]) > maxPixel:
		return Row{}, fmt.Errorf("position %v, %v is out of range", f[2], f[3])
	case !(f[4] > 0 && f[4] <= maxPixel && f[5] > 0 && f[5] <= maxPixel):
		return Row{}, fmt.Errorf("size %v × %v is out of range", f[4], f[5])
	}
	row := Row{
		Frame: int(f[0]), ID: int64(f[1]), Left: f[2], Top: f[3], Width: f[4], Height: f[5], Conf: f[6], Class: -1,
	}
	if n >= 8 && f[7] == math.Trunc(f[7]) && f[7] >= 1 && f[7] <= 100 {
		row.Class = int(f[7])
	}
	return row, nil
}
