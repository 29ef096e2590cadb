package tracklog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// disk is the one writer of a Log's folder. It is used by Run alone.
type disk struct {
	log  *Log
	open map[string]*hourWriter // by camera
	z    deflater
	runs map[string]*Run // that the open file of the camera was told of last
	// trouble says from when on it is tried again what was refused: of a camera,
	// whose folder alone is at fault, or of all of them, under "".
	trouble map[string]time.Time
}

// retryAfter is how long nothing is written after the disk refused.
const retryAfter = 10 * time.Second

func newDisk(l *Log) *disk {
	return &disk{log: l, open: make(map[string]*hourWriter), runs: make(map[string]*Run), trouble: make(map[string]time.Time)}
}

// do does one job.
func (d *disk) do(ctx context.Context, j job) {
	switch {
	case j.ack != nil:
		close(j.ack)
	case j.end:
		d.closeFile(j.camera)
		delete(d.trouble, j.camera)
	case !d.ready(ctx, j.camera, time.Now()):
		d.log.metrics.drop(j.camera, dropDisk, j.block.scenes)
	default:
		if err := d.write(j); err != nil {
			d.log.metrics.drop(j.camera, dropDisk, j.block.scenes)
			if ofTheDisk(err) {
				d.fail(ctx, "", err)
			} else {
				d.fail(ctx, j.camera, err)
			}
		}
	}
}

// ofTheDisk reports whether what failed for one camera will for the others.
func ofTheDisk(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ready reports whether the camera's tracks may be written now.
func (d *disk) ready(ctx context.Context, camera string, now time.Time) bool {
	if now.Before(d.trouble[""]) || now.Before(d.trouble[camera]) {
		return false
	}
	if d.log.cfg.MinFree > 0 {
		if free, err := freeBytes(d.log.cfg.Dir); err == nil && free < d.log.cfg.MinFree {
			d.fail(ctx, "", fmt.Errorf("only %d MB are free on the disk, %d MB are kept for events", free/1e6, d.log.cfg.MinFree/1e6))
			return false
		}
	}
	return true
}

// fail notes that nothing is written for a while, of the camera or, for "", of
// any. The same trouble is told once.
func (d *disk) fail(ctx context.Context, camera string, err error) {
	if d.trouble[camera].IsZero() {
		log := d.log.cfg.Log
		if camera != "" {
			log = log.With("camera", camera)
		}
		log.ErrorContext(ctx, "tracks are not stored for now; rules cannot be tried on this time later", "err", err)
	}
	d.trouble[camera] = time.Now().Add(retryAfter)
}

func (d *disk) write(j job) error {
	hour := hourOf(j.block.first)
	w := d.open[j.camera]
	if w == nil || w.hour != hour {
		d.closeFile(j.camera)
		var err error
		if w, err = openHour(d.log.cfg.Dir, j.camera, hour); err != nil {
			return err
		}
		d.open[j.camera] = w
	}
	var out []byte
	if d.runs[j.camera] != j.run {
		body, err := runBody(j.run)
		if err != nil {
			return err
		}
		out = frame(out, body)
	}
	body, err := j.block.body(&d.z)
	if err != nil {
		return err
	}
	out = frame(out, body)
	if err := w.append(out); err != nil {
		d.closeFile(j.camera)
		return err
	}
	d.runs[j.camera] = j.run
	for _, was := range []string{"", j.camera} {
		if !d.trouble[was].IsZero() {
			d.log.cfg.Log.Info("tracks are stored again", "camera", j.camera)
			delete(d.trouble, was)
		}
	}
	m := d.log.metrics
	m.scenes.WithLabelValues(j.camera).Add(float64(j.block.scenes))
	m.bytes.WithLabelValues(j.camera).Add(float64(len(out)))
	m.stored.Add(float64(len(out)))
	return nil
}

func (d *disk) closeFile(camera string) {
	if w := d.open[camera]; w != nil {
		if err := w.close(); err != nil {
			d.log.cfg.Log.Error("the end of an hour of tracks may be lost if the power fails", "camera", camera, "err", err)
		}
	}
	delete(d.open, camera)
	delete(d.runs, camera)
}

func (d *disk) close() {
	for camera := range d.open {
		d.closeFile(camera)
	}
}

// tidy deletes what is too old, and then the oldest hours of all cameras until
// the rest is within the limit. What is being written stays.
func (d *disk) tidy(ctx context.Context, now time.Time) {
	cfg := &d.log.cfg
	cameras, err := Cameras(cfg.Dir)
	if err != nil {
		cfg.Log.ErrorContext(ctx, "old tracks are not deleted", "err", err)
		return
	}
	var all []hourFile
	total := int64(0)
	for _, c := range cameras {
		list, err := hours(cfg.Dir, c)
		if err != nil {
			cfg.Log.ErrorContext(ctx, "old tracks are not deleted", "camera", c, "err", err)
			continue
		}
		for _, f := range list {
			total += f.size
		}
		all = append(all, list...)
	}
	slices.SortStableFunc(all, func(a, b hourFile) int { return cmp.Compare(a.hour, b.hour) })
	oldest := hourOf(now.Add(-cfg.MaxAge).UnixMilli())
	for _, f := range all {
		if f.hour >= oldest && total <= cfg.MaxBytes {
			break
		}
		if w := d.open[f.camera]; w != nil && w.hour == f.hour {
			continue
		}
		if err := os.Remove(f.path(cfg.Dir)); err != nil {
			cfg.Log.ErrorContext(ctx, "an old hour of tracks is not deleted", "camera", f.camera, "err", err)
			continue
		}
		total -= f.size
		d.log.metrics.deleted.Inc()
		_ = os.Remove(filepath.Join(cfg.Dir, f.camera)) // only when it is empty
	}
	d.log.metrics.stored.Set(float64(total))
}

// freeBytes returns what an ordinary user may still write where dir is, or will
// be.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	return int64(st.Bavail) * st.Bsize, err //nolint:gosec // fits
}

// hourWriter appends to the file of an hour.
type hourWriter struct {
	f    *os.File
	hour int64
	size int64 // up to here everything is whole
}

// openHour opens the file to append. What a crash left half written at its end
// is cut off.
func openHour(dir, camera string, hour int64) (*hourWriter, error) {
	if !ValidCamera(camera) {
		return nil, fmt.Errorf("store tracks: %q is not the name of a camera", camera)
	}
	if err := os.MkdirAll(filepath.Join(dir, camera), 0o700); err != nil {
		return nil, fmt.Errorf("store tracks: %w", err)
	}
	f, err := os.OpenFile(hourFile{camera: camera, hour: hour}.path(dir), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store tracks: %w", err)
	}
	w := &hourWriter{f: f, hour: hour}
	b, err := io.ReadAll(io.LimitReader(f, maxHour+1))
	if err == nil && len(b) > maxHour {
		err = fmt.Errorf("the hour has more than %d MB already", maxHour>>20)
	}
	if err == nil {
		w.size = int64(validPrefix(b))
		if w.size < int64(len(b)) {
			err = f.Truncate(w.size)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store tracks: %w", err), f.Close())
	}
	return w, nil
}

// maxHour bounds a file, so that reading one takes bounded memory: thirty tracks
// at thirty pictures a second make a tenth of it.
const maxHour = 256 << 20

// append writes whole blocks, or none.
func (w *hourWriter) append(b []byte) error {
	if w.size+int64(len(b)) > maxHour {
		return fmt.Errorf("store tracks: the hour has more than %d MB already", maxHour>>20)
	}
	n, err := w.f.WriteAt(b, w.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, w.f.Truncate(w.size))
		}
		return fmt.Errorf("store tracks: %w", err)
	}
	w.size += int64(len(b))
	return nil
}

func (w *hourWriter) close() error { return errors.Join(w.f.Sync(), w.f.Close()) }
