package clip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Salvage makes a clip out of what a crash has left of the one at path: it cuts
// the file with PartSuffix behind its last whole fragment, syncs it and gives it
// its name. What holds no whole fragment is removed, and that is ErrEmpty; so is
// a path without a leftover os.ErrNotExist. Nobody may be writing the clip.
func Salvage(path string) error {
	f, err := os.OpenFile(path+PartSuffix, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("salvage a clip: %w", err)
	}
	whole, err := wholeFragments(f)
	if err == nil && whole == 0 {
		return errors.Join(fmt.Errorf("salvage a clip: %w", ErrEmpty), f.Close(), os.Remove(path+PartSuffix))
	}
	if err == nil {
		err = f.Truncate(whole)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("salvage a clip: %w", err)
	}
	if err := publish(path); err != nil {
		return fmt.Errorf("salvage a clip: %w", err)
	}
	return nil
}

// wholeFragments returns where the last whole fragment ends; 0 when there is
// none. A fragment is a "moof" and the "mdat" behind it, which must be sound.
func wholeFragments(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var at, whole int64
	before := ""
	headed := false
	for {
		var b [8]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			if errors.Is(err, io.EOF) {
				return whole, nil
			}
			return 0, err
		}
		size, typ := int64(binary.BigEndian.Uint32(b[:])), string(b[4:])
		if size < 8 || at+size > info.Size() {
			return whole, nil
		}
		switch typ {
		case "ftyp", "prft", "moof":
		case "moov":
			headed = true
		case "mdat":
			if before != "moof" || !headed {
				return whole, nil
			}
			if ok, err := sound(f, at+8, size-8); err != nil || !ok {
				return whole, err
			}
			whole = at + size
		default:
			return whole, nil
		}
		before = typ
		at += size
	}
}

// hole is a run of zeros that no NAL unit has: three in a row are always escaped
// (H.264, 7.4.1; H.265, 7.4.2). It is what a power cut leaves of pages that had
// not reached the disk.
const hole = 16

// sound reports whether a part of the file has no hole.
func sound(f *os.File, at, size int64) (bool, error) {
	buf, zeros := make([]byte, 64<<10), 0
	r := io.NewSectionReader(f, at, size)
	for {
		n, err := r.Read(buf)
		for _, v := range buf[:n] {
			if v != 0 {
				zeros = 0
			} else if zeros++; zeros == hole {
				return false, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
