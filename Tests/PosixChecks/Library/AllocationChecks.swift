import CPosix
import Glibc

/// posix_allocate(2), or a reason why it can't be tried.
private func allocate(_ at: Scratch, _ descriptor: Int32, _ mode: Int32, _ offset: Int, _ length: Int) throws {
    if posix_allocate(descriptor, mode, offset, length) == 0 { return }
    if errno == EOPNOTSUPP { throw Skip(reason: "fallocate with mode \(mode) is not supported here") }
    throw Broken(description: "fallocate mode \(mode) at \(offset), \(length) bytes: errno \(errno)")
}

let allocationChecks: [PosixCheck] = [
    PosixCheck("fallocate: grows the size, or not with KEEP_SIZE; bytes read as zeros") { at in
        let descriptor = try at.open("f", O_CREAT | O_RDWR)
        defer { close(descriptor) }
        try allocate(at, descriptor, 0, 0, 50_000)
        try at.hold(try at.status(descriptor).st_size == 50_000, "size")
        try allocate(at, descriptor, posix_keep_size, 0, 200_000)
        try at.hold(try at.status(descriptor).st_size == 50_000, "size with KEEP_SIZE")
        try at.hold(try at.contents("f").allSatisfy { $0 == 0 }, "not zeros")
    },
    PosixCheck("fallocate: punching a hole zeros exactly the range and frees blocks") { at in
        try at.file("f", pattern(1_000_000))
        let descriptor = try at.open("f", O_RDWR)
        defer { close(descriptor) }
        try at.ok("fsync") { fsync(descriptor) }
        let before = try at.status(descriptor).st_blocks
        try allocate(at, descriptor, posix_punch_hole, 100_001, 700_000)
        var expected = pattern(1_000_000)
        expected.replaceSubrange(100_001..<800_001, with: repeatElement(0, count: 700_000))
        try at.hold(try at.contents("f") == expected, "bytes differ")
        try at.ok("fsync") { fsync(descriptor) }
        try at.hold(try at.status(descriptor).st_blocks < before, "no block was freed")
    },
    PosixCheck("fallocate: zeroing a range, also past the end") { at in
        try at.file("f", pattern(10_000))
        let descriptor = try at.open("f", O_RDWR)
        defer { close(descriptor) }
        try allocate(at, descriptor, posix_zero_range, 5000, 10_000)
        let bytes = try at.contents("f")
        try at.hold(bytes.count == 15_000 && Array(bytes[..<5000]) == pattern(5000), "bytes or size")
        try at.hold(bytes[5000...].allSatisfy { $0 == 0 }, "not zeros")
    },
    PosixCheck("fallocate: wrong lengths are EINVAL, other modes EOPNOTSUPP, descriptors for reading EBADF") { at in
        try at.file("f", [1])
        let descriptor = try at.open("f", O_RDWR)
        defer { close(descriptor) }
        try at.fails("length 0", EINVAL) { Int(posix_allocate(descriptor, 0, 0, 0)) }
        try at.fails("negative offset", EINVAL) { Int(posix_allocate(descriptor, 0, -1, 5)) }
        let reading = try at.open("f", O_RDONLY)
        defer { close(reading) }
        try at.fails("for reading", EBADF) { Int(posix_allocate(reading, 0, 0, 5)) }
        let result = posix_allocate(descriptor, posix_collapse_range, 0, 4096)
        try at.hold(result == 0 || errno == EOPNOTSUPP || errno == EINVAL, "collapse: errno \(errno)")
    },
    PosixCheck("lseek: SEEK_DATA and SEEK_HOLE never skip data, ENXIO behind the end") { at in
        let descriptor = try at.open("f", O_CREAT | O_RDWR)
        defer { close(descriptor) }
        try at.write(descriptor, pattern(4096), at: 1 << 20)
        try at.ok("ftruncate") { ftruncate(descriptor, 4 << 20) }
        try at.ok("fsync") { fsync(descriptor) }
        let data = lseek(descriptor, 0, posix_seek_data)
        try at.hold(data >= 0 && data <= 1 << 20, "data at \(data), errno \(errno)")
        let hole = lseek(descriptor, 1 << 20, posix_seek_hole)
        try at.hold(hole >= 1 << 20 + 4096 && hole <= 4 << 20, "hole at \(hole)")
        try at.fails("behind the end", ENXIO) { lseek(descriptor, 5 << 20, posix_seek_data) }
        try at.fails("behind the end", ENXIO) { lseek(descriptor, 5 << 20, posix_seek_hole) }
    },
]

let mappingChecks: [PosixCheck] = [
    PosixCheck("mmap: a shared mapping shows in the file and the file in it") { at in
        try at.file("f", pattern(20_000))
        let descriptor = try at.open("f", O_RDWR)
        defer { close(descriptor) }
        guard let memory = posix_map(20_000, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor) else {
            throw Broken(description: "mmap: errno \(errno)")
        }
        defer { _ = munmap(memory, 20_000) }
        try at.hold(memory.load(fromByteOffset: 9999, as: UInt8.self) == pattern(1, 9999)[0], "bytes in the mapping")
        memory.storeBytes(of: 200, toByteOffset: 12_345, as: UInt8.self)
        try at.ok("msync") { msync(memory, 20_000, MS_SYNC) }
        try at.hold(try at.read(descriptor, 1, at: 12_345) == [200], "the store isn't in the file")
        try at.write(descriptor, [99], at: 77)
        try at.hold(memory.load(fromByteOffset: 77, as: UInt8.self) == 99, "the write isn't in the mapping")
    },
    PosixCheck("mmap: stores in a shared mapping survive closing and unlinking is no obstacle") { at in
        try at.file("f", pattern(8192))
        let descriptor = try at.open("f", O_RDWR)
        guard let memory = posix_map(8192, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor) else {
            throw Broken(description: "mmap: errno \(errno)")
        }
        close(descriptor)
        memory.storeBytes(of: 1, toByteOffset: 5000, as: UInt8.self)
        _ = munmap(memory, 8192)
        try at.hold(try at.contents("f")[5000] == 1, "the store is lost")
    },
    PosixCheck("mmap: a private mapping leaves the file alone") { at in
        try at.file("f", pattern(4096))
        let descriptor = try at.open("f", O_RDONLY)
        defer { close(descriptor) }
        guard let memory = posix_map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor) else {
            throw Broken(description: "mmap: errno \(errno)")
        }
        defer { _ = munmap(memory, 4096) }
        memory.storeBytes(of: 0, toByteOffset: 10, as: UInt8.self)
        try at.hold(try at.contents("f") == pattern(4096), "the file changed")
    },
]

let lockChecks: [PosixCheck] = [
    PosixCheck("locks: flock excludes other descriptors and ends with the last close") { at in
        try at.file("f")
        let one = try at.open("f", O_RDWR)
        let two = try at.open("f", O_RDWR)
        defer { close(two) }
        try at.ok("flock") { flock(one, LOCK_EX | LOCK_NB) }
        try at.fails("second flock", EWOULDBLOCK) { Int(flock(two, LOCK_EX | LOCK_NB)) }
        close(one)
        try at.ok("flock after close") { flock(two, LOCK_SH | LOCK_NB) }
    },
    PosixCheck("locks: open-file-description locks of ranges exclude only what overlaps") { at in
        try at.file("f")
        let one = try at.open("f", O_RDWR)
        defer { close(one) }
        let two = try at.open("f", O_RDWR)
        defer { close(two) }
        try at.ok("lock 0..<10") { posix_lock(one, posix_ofd_setlk, Int16(F_WRLCK), 0, 10) }
        try at.fails("overlapping", EAGAIN, EACCES) { Int(posix_lock(two, posix_ofd_setlk, Int16(F_WRLCK), 5, 10)) }
        try at.ok("beside") { posix_lock(two, posix_ofd_setlk, Int16(F_WRLCK), 10, 10) }
        let type = posix_lock_conflict(two, posix_ofd_getlk, Int16(F_RDLCK), 0, 5)
        try at.hold(type == Int32(F_WRLCK), "the conflict isn't told")
        try at.ok("unlock") { posix_lock(one, posix_ofd_setlk, Int16(F_UNLCK), 0, 10) }
        try at.ok("after unlock") { posix_lock(two, posix_ofd_setlk, Int16(F_WRLCK), 0, 10) }
    },
]
