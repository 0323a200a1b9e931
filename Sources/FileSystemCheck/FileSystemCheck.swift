// FileSystemCheck
