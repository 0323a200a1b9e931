import Glibc
import Platform

/// What poll(2) is asked about a descriptor: is there something to read.
func pollEntry(_ descriptor: SharedDescriptor?) -> pollfd {
    pollfd(fd: descriptor?.rawValue ?? -1, events: Int16(POLLIN), revents: 0)
}
