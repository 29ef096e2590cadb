package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/xacam/xacam/models"
)

// dataDir returns where xacam keeps its data when nothing else is said: the
// system's folder for root, the user's own for everybody else.
func dataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/xacam"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "xacam")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "xacam")
	}
	return filepath.Join(home, ".local", "share", "xacam")
}

// modelDir returns the folder of downloaded models below a data folder.
func modelDir(data string) string { return filepath.Join(data, "models") }

// keyDir returns the folder of the server's own keys below a data folder.
func keyDir(data string) string { return filepath.Join(data, "keys") }

// sharedAssets is where a checkout of xacam may have real clips and models
// beside it.
const sharedAssets = "../shared/assets"

// modelMirrors returns where to look for model files before their own address:
// XACAM_MODEL_MIRROR, folders or addresses separated by commas, then a checkout's
// neighbour.
func modelMirrors() []string {
	var out []string
	for m := range strings.SplitSeq(os.Getenv("XACAM_MODEL_MIRROR"), ",") {
		if m = strings.TrimSpace(m); m != "" {
			out = append(out, m)
		}
	}
	if dir := filepath.Join(sharedAssets, "models"); isDir(dir) {
		out = append(out, dir)
	}
	return out
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func openCatalogue(data string) (*models.Catalogue, error) { return models.Open(modelDir(data)) }
