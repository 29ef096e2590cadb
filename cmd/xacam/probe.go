package main

import "github.com/spf13/cobra"

func newProbeCommand() *cobra.Command { return &cobra.Command{Use: "probe URL"} }
