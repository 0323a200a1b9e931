import CLinux
import Glibc

/// Writing the request memory, descriptor 3, which belongs to the client of the channel.
enum MemoryAttempts {
    static func run() {
        guard Report.isWanted("map-readable") else { return }
        let memory = 3
        let size = 4096
        let shared = 1
        let mapped = clinux_raw_call(Int(SYS_mmap), 0, size, Int(PROT_READ), shared, memory, 0)
        if mapped < 0 { return Report.escaped("map-readable", "reading must work, errno \(errno)") }
        Report.mustFail("map-writable", SYS_mmap, 0, size, Int(PROT_READ | PROT_WRITE), shared, memory, 0)
        Report.mustFail("make-writable", SYS_mprotect, mapped, size, Int(PROT_READ | PROT_WRITE))
        unsafe "evil".withCString { bytes in
            let bytes = Int(bitPattern: bytes)
            Report.mustFail("write-memory-file", SYS_pwrite64, memory, bytes, 4, 0)
            Report.mustFail("write-at-position", SYS_write, memory, bytes, 4)
        }
        Report.mustFail("truncate", SYS_ftruncate, memory, 0)
        Report.mustFail("punch-hole", SYS_fallocate, memory, 3, 0, size)
        Report.mustFail(
            "open-again", SYS_openat, path: "/proc/self/fd/3", at: 1, Int(AT_FDCWD), Int(O_RDWR))
    }
}
