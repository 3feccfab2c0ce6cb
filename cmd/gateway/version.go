package main

import "runtime/debug"

// version is what the program was built of: the module's version, which names the commit where there is no tag.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
