package main

import (
	"fmt"
	"os"
)

// draftOf returns the name under which the result at path is written until it is
// whole. What is there and no file, such as /dev/null or a pipe, is written as
// it is: giving a file its name would replace it.
func draftOf(path string) string {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return path
	}
	return path + ".part"
}

// publish gives a whole result its name.
func publish(draft, path string) error {
	if draft == path {
		return nil
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
