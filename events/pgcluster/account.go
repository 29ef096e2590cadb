package pgcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the operating-system user that the server runs as.
type account struct {
	name     string
	uid, gid uint32
	drop     bool // xacam runs as root and must become this user
}

func (a account) credential() *syscall.Credential {
	if !a.drop {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// chooseAccount returns who runs the server: xacam's own user, or an
// unprivileged one when that is root, because PostgreSQL refuses to run as
// root. An existing cluster keeps its owner.
func chooseAccount(cfg Config) (account, error) {
	if os.Geteuid() != 0 {
		a := account{name: "uid " + strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())} //nolint:gosec // IDs are not negative
		return a, checkOwner(cfg.Dir, a)
	}
	if info, err := os.Lstat(filepath.Join(cfg.Dir, "pgdata")); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			a := account{name: "uid " + strconv.FormatUint(uint64(st.Uid), 10), uid: st.Uid, gid: st.Gid, drop: true}
			if u, err := user.LookupId(strconv.FormatUint(uint64(st.Uid), 10)); err == nil {
				a.name = u.Username
			}
			return a, nil
		}
	}
	names := []string{"postgres", "nobody"}
	if cfg.User != "" {
		names = []string{cfg.User}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("user %s: %w", name, err)
		}
		if uid == 0 {
			return account{}, fmt.Errorf("user %s: PostgreSQL refuses to run as root, choose another user", name)
		}
		return account{name: name, uid: uint32(uid), gid: uint32(gid), drop: true}, nil
	}
	return account{}, fmt.Errorf("PostgreSQL refuses to run as root and there is no user %v: create one, or start xacam as an ordinary user", names)
}

// checkOwner tells an ordinary user that the cluster belongs to somebody else,
// which happens after a first start as root.
func checkOwner(dir string, a account) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil //nolint:nilerr // not there yet, or prepareDir says why it cannot be used
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != a.uid {
		return fmt.Errorf("database folder %s belongs to uid %d: start xacam as root or as that user, or choose another data folder", dir, st.Uid)
	}
	return nil
}

// prepareDir makes the cluster's folder and its parents, gives it to the
// account and checks that the account can reach it.
func prepareDir(dir string, a account) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // the account must be able to pass
		return fmt.Errorf("create database folder: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "run"), filepath.Join(dir, "log")} {
		if err := privateDir(d, a); err != nil {
			return fmt.Errorf("create database folder: %w", err)
		}
	}
	return checkReachable(dir, a)
}

// privateDir makes one folder that only the account may enter. A link in its
// place is refused, so that root never gives away a foreign folder.
func privateDir(dir string, a account) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != a.uid {
		if !a.drop || st.Uid != 0 {
			return fmt.Errorf("%s belongs to uid %d instead of %s", dir, st.Uid, a.name)
		}
		if err := os.Lchown(dir, int(a.uid), int(a.gid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // a folder needs its x bit
}

// checkReachable says which parent folder keeps the account out.
func checkReachable(dir string, a account) error {
	if !a.drop {
		return nil
	}
	actual, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("database folder: %w", err)
	}
	for p := filepath.Dir(actual); ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("database folder: %w", err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !mayPass(st, a) {
			return fmt.Errorf("database folder %s: user %s, who runs PostgreSQL, may not pass through %s (mode %04o): run chmod o+x %s, or choose another data folder",
				dir, a.name, p, info.Mode().Perm(), p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

func mayPass(st *syscall.Stat_t, a account) bool {
	switch {
	case st.Uid == a.uid:
		return st.Mode&0o100 != 0
	case st.Gid == a.gid:
		return st.Mode&0o010 != 0
	default:
		return st.Mode&0o001 != 0
	}
}
