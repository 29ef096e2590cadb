package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
)

// KeeperConfig configures a Keeper. Store and Catalogue are required.
type KeeperConfig struct {
	Store     *Store
	Catalogue Catalogue
	Policy    Policy
	Reserve   int64         // bytes kept back for the store on a full disk; default 32 MiB, negative keeps none
	Look      time.Duration // how often the disk is looked at; default 5s
	Round     time.Duration // how often ages and the quota are; default 10m
	// Health, if set, is told after each look whether the disk takes pictures,
	// from one goroutine. It must not block.
	Health func(Health)
	// Pending, if set, returns what reports whether a package that is not sealed
	// yet needs a file: such files are never taken. It is called before files are.
	Pending    func(context.Context) (func(path string) bool, error)
	Now        func() time.Time      // default time.Now
	Log        *slog.Logger          // default discards
	Registerer prometheus.Registerer // default: metrics are kept but not registered
}

// Health says how the media disk is.
type Health struct {
	At       time.Time
	Room     Room
	Low      bool  // too little room, and nothing is left that may go
	Stuck    error // too little room, and nothing could be removed now, such as while the store is away; nil else
	Unusable error // nothing can be written; nil when it can
}

// Keeper keeps the media folder within its policy: what is too old goes, and
// when the quota or the disk is full the oldest goes first. What is held for a
// case never goes, nor does a manifest. It is noted in the store before a file
// is deleted, so that after a crash a file may be left over, which Check finds,
// but none is missing unexplained.
type Keeper struct {
	cfg     KeeperConfig
	metrics *keeperMetrics
	wake    chan struct{}
}

// NewKeeper checks the configuration. It starts nothing.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Store == nil || cfg.Catalogue == nil {
		return nil, errors.New("evidence keeper: Store and Catalogue are required")
	}
	var err error
	if cfg.Policy, err = cfg.Policy.withDefaults(); err != nil {
		return nil, err
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 32 << 20
	}
	if cfg.Look <= 0 {
		cfg.Look = 5 * time.Second
	}
	if cfg.Round <= 0 {
		cfg.Round = 10 * time.Minute
	}
	if cfg.Health == nil {
		cfg.Health = func(Health) {}
	}
	if cfg.Pending == nil {
		cfg.Pending = func(context.Context) (func(string) bool, error) {
			return func(string) bool { return false }, nil
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{cfg: cfg, metrics: newKeeperMetrics(cfg.Registerer), wake: make(chan struct{}, 1)}, nil
}

// Wake makes the keeper look at the disk now: a write failed. It never blocks.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run keeps the folder until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	look := time.NewTicker(k.cfg.Look)
	defer look.Stop()
	var next time.Time // of the round
	said := ""
	for {
		err := k.look(ctx)
		if now := k.cfg.Now(); err == nil && !now.Before(next) {
			if err = k.Round(ctx); err == nil {
				next = now.Add(k.cfg.Round)
			}
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrNotMounted) && err.Error() != said:
			said = err.Error()
			k.cfg.Log.ErrorContext(ctx, "events go without pictures and clips", "err", err)
		case errors.Is(err, events.ErrUnavailable): // that the store is away is told by others
		case err != nil && err.Error() != said:
			said = err.Error()
			k.cfg.Log.WarnContext(ctx, "old media cannot be removed now", "err", err)
		case err == nil:
			said = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		case <-k.wake:
		}
	}
}

// Round removes what is too old, and what is over the quota.
func (k *Keeper) Round(ctx context.Context) error {
	if err := k.cfg.Store.Certain(); err != nil { // what goes could not be deleted
		return err
	}
	now := k.cfg.Now()
	p := &k.cfg.Policy
	pending, err := k.cfg.Pending(ctx)
	if err != nil {
		return err
	}
	err = k.scan(ctx, now.Add(-p.shortest()), func(files []StoredFile) ([]string, bool) {
		var due []string
		for i := range files {
			if p.due(&files[i], now) && !pending(files[i].Ref.Path) {
				due = append(due, files[i].Ref.Path)
			}
		}
		return due, true
	}, "age")
	if err != nil {
		return err
	}
	total, err := k.cfg.Catalogue.Bytes(ctx)
	if err != nil {
		return err
	}
	k.metrics.bytes.Set(float64(total))
	if over := total - p.MaxBytes; p.MaxBytes > 0 && over > 0 {
		return k.free(ctx, "quota", over, 0)
	}
	return nil
}

// look makes room on the disk where there is too little, and tells how it is.
func (k *Keeper) look(ctx context.Context) error {
	h := Health{At: k.cfg.Now()}
	h.Room, h.Unusable = k.cfg.Store.Room()
	if err := k.cfg.Store.Mounted(); err != nil {
		h.Unusable = err
	}
	if h.Unusable != nil {
		k.cfg.Health(h)
		return h.Unusable
	}
	bytes, files := h.Room.lack(&k.cfg.Policy)
	var err error
	if bytes > 0 || files > 0 {
		err = k.free(ctx, "disk", bytes, files)
		if err != nil && k.cfg.Store.giveReserve() {
			k.cfg.Log.WarnContext(ctx, "the disk is full, the room in reserve is used", "err", err)
			err = k.free(ctx, "disk", bytes, files)
		}
		if room, rerr := k.cfg.Store.Room(); rerr == nil {
			h.Room = room
		}
		bytes, files = h.Room.lack(&k.cfg.Policy)
		if bytes > 0 || files > 0 {
			h.Low, h.Stuck = err == nil, err
		}
	}
	k.metrics.free.Set(float64(h.Room.Free))
	if k.cfg.Reserve > 0 {
		err = errors.Join(err, k.cfg.Store.keepReserve(k.cfg.Reserve, h.Room, bytes > 0 || files > 0))
	}
	h.Unusable = k.cfg.Store.probe()
	k.cfg.Health(h)
	return err
}

// free removes the oldest files until at least so much is gone, and a tenth
// more.
func (k *Keeper) free(ctx context.Context, reason string, bytes, files int64) error {
	if err := k.cfg.Store.Certain(); err != nil { // what goes could not be deleted
		return err
	}
	bytes, files = bytes+bytes/goalOverhead, files+files/goalOverhead
	pending, err := k.cfg.Pending(ctx)
	if err != nil {
		return err
	}
	return k.scan(ctx, k.cfg.Now().Add(-youngest), func(found []StoredFile) ([]string, bool) {
		var paths []string
		for i := range found {
			if bytes <= 0 && files <= 0 {
				return paths, false
			}
			if found[i].Held || pending(found[i].Ref.Path) {
				continue
			}
			paths = append(paths, found[i].Ref.Path)
			bytes -= found[i].Ref.Bytes
			files--
		}
		return paths, bytes > 0 || files > 0
	}, reason)
}

// page is how many files are looked at, and removed, at a time.
const page = 200

// scan goes through the files of events before a moment, oldest first, and
// removes those that choose names, until it says that there is enough.
func (k *Keeper) scan(ctx context.Context, before time.Time, choose func([]StoredFile) (paths []string, more bool), reason string) error {
	var at Cursor
	for ctx.Err() == nil {
		files, next, err := k.cfg.Catalogue.Files(ctx, at, before, page)
		if err != nil {
			return fmt.Errorf("list old media: %w", err)
		}
		paths, more := choose(files)
		if err := k.remove(ctx, Removal{Paths: paths, Reason: reason, Actor: "xacam"}); err != nil {
			return err
		}
		if !more || next == (Cursor{}) {
			return nil
		}
		at = next
	}
	return ctx.Err()
}

// remove notes and deletes.
func (k *Keeper) remove(ctx context.Context, r Removal) error {
	if len(r.Paths) == 0 {
		return nil
	}
	gone, err := k.cfg.Catalogue.Remove(ctx, r)
	if err != nil {
		return fmt.Errorf("note the removal of media: %w", err)
	}
	var errs []error
	for _, path := range gone {
		errs = append(errs, k.cfg.Store.Delete(path))
	}
	k.metrics.deleted.WithLabelValues(r.Reason).Add(float64(len(gone)))
	if len(gone) > 0 {
		k.cfg.Log.InfoContext(ctx, "old media removed", "reason", r.Reason, "files", len(gone))
	}
	return errors.Join(errs...)
}

// Delete removes a file of the media folder, and its folder when that is empty
// then. A file that is not there is fine.
func (s *Store) Delete(rel string) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("delete media: %w", err)
	}
	defer root.Close()
	if err := s.bears(root); err != nil {
		return fmt.Errorf("delete media: %w", err)
	}
	name := filepath.FromSlash(rel)
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete media: %w", err)
	}
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if root.Remove(dir) != nil { // it is not empty
			break
		}
	}
	return nil
}

// probe finds out whether a file can be written, which a read-only disk, or one
// without room for another file, does not tell otherwise.
func (s *Store) probe() error {
	f, err := os.CreateTemp(s.dir, "check-*"+tempSuffix)
	if err != nil {
		return fmt.Errorf("write to the media folder: %w", err)
	}
	_, werr := f.Write(make([]byte, 4096))
	err = errors.Join(werr, f.Sync(), f.Close(), os.Remove(f.Name()))
	if err != nil {
		return fmt.Errorf("write to the media folder: %w", err)
	}
	return nil
}

// Signal returns what a health says as a signal of the kind storage_low, and
// false when all is well.
func (h *Health) Signal(source string) (events.Signal, bool) {
	s := events.Signal{
		Key: events.Key{Source: source, Kind: events.KindStorageLow}, At: h.At, Score: 1, Severity: events.SeverityHigh,
		Attributes: map[string]any{"free_bytes": h.Room.Free, "total_bytes": h.Room.Total},
	}
	switch {
	case errors.Is(h.Unusable, ErrNotMounted):
		s.Why = events.Text{
			VI: "Ổ đĩa chứa hình ảnh, video chưa được gắn vào máy chủ, hoặc là một ổ đĩa khác; sự kiện vẫn được lưu nhưng không kèm hình. " +
				"Trước hết hãy kiểm tra và gắn lại ổ đĩa. Chỉ khi ổ đĩa thật sự đã được thay bằng ổ khác mới dừng máy chủ và chạy «xacam fsck --new-disk».",
			EN: "The disk of pictures and clips is not mounted, or it is another one; events are kept, but without them. " +
				"First check the disk and mount it again. Only if it was really replaced by another one, stop the server and run “xacam fsck --new-disk”.",
		}
		s.Attributes["detail"] = h.Unusable.Error()
	case h.Unusable != nil:
		s.Why = events.Text{
			VI: "Không ghi được hình ảnh, video vào đĩa; sự kiện vẫn được lưu nhưng không kèm hình. Hãy kiểm tra ổ đĩa (đầy, chỉ đọc, hỏng).",
			EN: "Pictures and clips cannot be written to the disk; events are kept, but without them. Check the disk: full, read-only or broken.",
		}
		s.Attributes["detail"] = h.Unusable.Error()
	case h.Low:
		s.Why = events.Text{
			VI: "Đĩa gần đầy và không còn hình ảnh, video nào được phép xóa; cần giải phóng dung lượng.",
			EN: "The disk is almost full and no pictures or clips are left that may be deleted; room must be made.",
		}
	case h.Stuck != nil:
		s.Why = events.Text{
			VI: "Đĩa gần đầy và hiện chưa xóa được hình ảnh, video cũ, có thể do mất kết nối cơ sở dữ liệu; hãy kiểm tra cơ sở dữ liệu.",
			EN: "The disk is almost full and old pictures and clips cannot be removed now, perhaps because the database is away; check the database.",
		}
		s.Attributes["detail"] = h.Stuck.Error()
	default:
		return events.Signal{}, false
	}
	return s, true
}
