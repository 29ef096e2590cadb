package evidence

import (
	"fmt"
	"syscall"
)

// Room is the state of the disk under the media folder.
type Room struct {
	Free, Total           int64 // bytes that this process may still write, and all
	FreeFiles, TotalFiles int64 // files that can still be made; 0 of 0 where the file system has no limit
}

// Room asks the file system.
func (s *Store) Room() (Room, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return Room{}, fmt.Errorf("ask for the room on the media disk: %w", err)
	}
	return Room{
		Free: int64(st.Bavail) * st.Bsize, Total: int64(st.Blocks) * st.Bsize, //nolint:gosec // sizes of real disks
		FreeFiles: int64(st.Ffree), TotalFiles: int64(st.Files), //nolint:gosec // sizes of real disks
	}, nil
}

// lack returns how many bytes and files must go for the policy.
func (r Room) lack(p *Policy) (bytes, files int64) {
	minFree, minFiles := p.MinFree, p.MinFreeFiles
	if minFree == 0 {
		minFree = min(1<<30, r.Total/20)
	}
	if minFiles == 0 {
		minFiles = min(1000, r.TotalFiles/20)
	}
	if r.Free < minFree {
		bytes = minFree - r.Free
	}
	if r.TotalFiles > 0 && r.FreeFiles < minFiles {
		files = minFiles - r.FreeFiles
	}
	return bytes, files
}
