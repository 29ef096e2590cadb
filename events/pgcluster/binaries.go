package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// binaries is one installed PostgreSQL.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// findBinaries returns the newest PostgreSQL, or the one that fits the cluster
// in data, if there is one.
func findBinaries(ctx context.Context, given, data string) (binaries, error) {
	var dirs []string
	if given != "" {
		dirs = []string{given}
	} else {
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"} {
			found, err := filepath.Glob(pattern)
			if err == nil { // the patterns are well-formed
				dirs = append(dirs, found...)
			}
		}
		if p, err := exec.LookPath("postgres"); err == nil {
			if p, err = filepath.EvalSymlinks(p); err == nil {
				dirs = append(dirs, filepath.Dir(p))
			}
		}
	}
	var all []binaries
	var problems []error
	for _, dir := range dirs {
		b, err := inspect(ctx, dir)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		where := "in /usr/lib/postgresql/*/bin or on PATH"
		if given != "" {
			where = "in " + given
		}
		msg := fmt.Errorf("%w: no postgres and initdb %s; run apt-get install postgresql, or give the address of a database server", ErrNoBinaries, where)
		return binaries{}, errors.Join(append([]error{msg}, problems...)...)
	}
	slices.SortFunc(all, func(a, b binaries) int { return b.major - a.major })
	return fitting(all, data)
}

// fitting chooses among installed versions, newest first.
func fitting(all []binaries, data string) (binaries, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return all[0], nil
	}
	if err != nil {
		return binaries{}, fmt.Errorf("read version of the cluster: %w", err)
	}
	has := strings.TrimSpace(string(b))
	var installed []string
	for _, b := range all {
		if strconv.Itoa(b.major) == has {
			return b, nil
		}
		installed = append(installed, strconv.Itoa(b.major))
	}
	return binaries{}, fmt.Errorf("%w: %s was made by PostgreSQL %s and installed is %s; install postgresql-%s again, or convert the folder with pg_upgrade, or move it away to start empty",
		ErrVersion, data, has, strings.Join(installed, ", "), has)
}

// inspect asks the server program in dir for its version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return binaries{}, fmt.Errorf("look for PostgreSQL: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // a program of the operator's choice
	if err != nil {
		return binaries{}, fmt.Errorf("run %s/postgres --version: %w", dir, err)
	}
	m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("run %s/postgres --version: cannot read %q", dir, out)
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil || major < 13 {
		return binaries{}, fmt.Errorf("%s holds PostgreSQL %s, needed is 13 or newer", dir, m[1])
	}
	return binaries{dir: dir, major: major}, nil
}
