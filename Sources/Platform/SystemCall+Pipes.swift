import CLinux
import Glibc
import SystemPackage

/// Pipes as a place between a stream socket and a process that may die at any time. The kernel moves bytes between socket and pipe in one
/// step, and a pipe whose ends nobody else uses says exactly how much of what was put in hasn't been taken out: who looks later knows how
/// far a dead process had come, which a socket doesn't tell.
extension SystemCall {
    /// A pipe whose ends don't block.
    public static func unblockedPipe() throws(Errno) -> (reading: SharedDescriptor, writing: SharedDescriptor) {
        var ends: [Int32] = [0, 0]
        try retrying { unsafe clinux_waiting_pipe(&ends) }
        return (SharedDescriptor(adopting: ends[0]), SharedDescriptor(adopting: ends[1]))
    }

    /// Moves at most `count` bytes; one of both is a pipe. 0: the end of what is read. EAGAIN: nothing is there, or there is no room.
    public static func splice(from source: Int32, to target: Int32, count: Int) throws(Errno) -> Int {
        try retrying { clinux_splice(source, target, count) }
    }

    /// Bytes that wait in a pipe.
    public static func waitingBytes(_ pipe: Int32) throws(Errno) -> Int {
        var count: Int32 = 0
        try retrying { unsafe clinux_waiting_bytes(pipe, &count) }
        return Int(count)
    }
}
