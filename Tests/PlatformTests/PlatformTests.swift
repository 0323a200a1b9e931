import Glibc
import Platform
import Synchronization
import SystemPackage
import TestSupport
import Testing

@Suite struct DescriptorTests {
    @Test func closesAtItsEnd() throws {
        var number: Int32 = -1
        do {
            let file = try SystemCall.open("/dev/null", O_RDONLY)
            number = file.rawValue
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC == FD_CLOEXEC)
        }
        // Another test may have got the number meanwhile; then it is another file.
        let status = try? SystemCall.status(number)
        let null = try SystemCall.statusAt(AT_FDCWD, "/dev/null")
        #expect(status.map { $0.st_rdev != null.st_rdev } ?? true)
    }

    @Test func releasedDescriptorStaysOpen() throws {
        let file = try SystemCall.open("/dev/null", O_RDONLY)
        let number = file.release()
        #expect(fcntl(number, F_GETFD) != -1)
        try OwnedDescriptor(adopting: number).close()
    }

    @Test func duplicateIsIndependent() throws {
        let file = try SystemCall.open("/dev/zero", O_RDONLY)
        let second = try file.duplicate()
        try file.close()
        #expect(second.rawValue >= 0)
        _ = try SystemCall.status(second.rawValue)
    }

    @Test func errorsAreTyped() {
        #expect(throws: Errno.noSuchFileOrDirectory) { _ = try SystemCall.statusAt(AT_FDCWD, "/no/such/file") }
        #expect(throws: Errno.badFileDescriptor) { _ = try SystemCall.status(-1) }
    }
}

@Suite struct FileCallTests {
    @Test func writesVectorsWithoutLosingOrder() throws {
        let directory = try TemporaryDirectory()
        let file = try SystemCall.open(directory.file("vectors"), O_RDWR | O_CREAT, mode: 0o600)
        // More slices than one call takes, of odd lengths, some empty.
        var expected: [UInt8] = []
        var slices: [BufferSlice] = []
        for index in 0..<2500 {
            let bytes = noise(index % 7, seed: UInt64(index))
            let buffer = AlignedBuffer(byteCount: bytes.count + 3)
            unsafe buffer.copyBytes(from: bytes.span.bytes, at: 2)
            slices.append(BufferSlice(buffer, 2..<2 + bytes.count))
            expected += bytes
        }
        try SystemCall.writeAll(file.rawValue, at: 5, slices)
        let contents = try SystemCall.readToEnd(file.rawValue, limit: 1 << 20)
        #expect(Array(contents.dropFirst(5)) == expected)
        let again = try SystemCall.open(directory.file("vectors"), O_RDONLY).release()
        let owner = OwnedDescriptor(adopting: again)
        #expect(throws: Errno.fileTooLarge) { _ = try SystemCall.readToEnd(again, limit: 9) }
        try owner.close()
    }

    @Test func emptyVectorsNeedNoProgress() throws {
        let directory = try TemporaryDirectory()
        let file = try SystemCall.open(directory.file("empty"), O_RDWR | O_CREAT, mode: 0o600)
        try SystemCall.writeAll(file.rawValue, at: 0, [])
        try SystemCall.writeAll(file.rawValue, at: 0, [BufferSlice(AlignedBuffer(byteCount: 0))])
        #expect(try SystemCall.status(file.rawValue).st_size == 0)
    }

    @Test func offsetsBeyondTheSystemsAreErrors() throws {
        let file = try SystemCall.open("/dev/zero", O_RDWR)
        let buffer = AlignedBuffer(byteCount: 8)
        #expect(throws: Errno.invalidArgument) {
            var bytes = buffer.mutableBytes
            _ = try SystemCall.read(file.rawValue, at: .max, into: &bytes)
        }
        #expect(throws: Errno.invalidArgument) {
            try SystemCall.writeAll(file.rawValue, at: .max, [BufferSlice(buffer)])
        }
        #expect(throws: Errno.fileTooLarge) { try SystemCall.truncate(file.rawValue, to: .max) }
    }
}

@Suite struct BufferTests {
    @Test(arguments: [0, 1, 4095, 4096, 131072, 5 << 20])
    func zeroedAndAligned(_ byteCount: Int) {
        let buffer = AlignedBuffer(byteCount: byteCount)
        let isZero = (0..<byteCount).allSatisfy {
            unsafe buffer.bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == 0
        }
        #expect(isZero)
        let isAligned = unsafe buffer.bytes.withUnsafeBytes { Int(bitPattern: $0.baseAddress) % 4096 == 0 }
        #expect(isAligned)
    }

    @Test func copiesAndZeroes() {
        let buffer = AlignedBuffer(copying: unsafe noise(64, seed: 1).span.bytes)
        buffer.zero(8..<16)
        var expected = noise(64, seed: 1)
        for index in 8..<16 { expected[index] = 0 }
        let contents = unsafe buffer.bytes.withUnsafeBytes { unsafe Array($0) }
        #expect(contents == expected)
        var part = buffer.mutableBytes(60..<64)
        part.zeroAll()
        let tail = unsafe buffer.bytes(60..<64).unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
        #expect(tail == 0)
    }

    /// A buffer's memory is handed out again when the last reference to it is gone, and not before; buffers don't overlap,
    /// whether they are cut from large pieces, were given back to the kernel, or outlive the pool.
    @Test(arguments: 0...BufferPool.maximumLevel) func poolUsesMemoryAgain(level: Int) {
        var pool: BufferPool? = BufferPool(maximumBytesPerLevel: 1 << 20)
        let count = (6 << 20) / (4096 << level)
        var places: [Set<UInt>] = []
        var kept: [AlignedBuffer] = []
        for _ in 0..<2 {
            let buffers = (0..<count).compactMap { _ in pool?.take(level: level) }
            #expect(buffers.count == count && buffers.allSatisfy { $0.byteCount == 4096 << level })
            for (index, buffer) in buffers.enumerated() { Self.fill(buffer, with: index) }
            #expect(buffers.enumerated().allSatisfy { Self.isFilled($1, with: $0) })
            let addresses = Set(buffers.map(Self.address))
            #expect(addresses.count == count)
            // What is still in use isn't handed out.
            #expect(addresses.isDisjoint(with: kept.map(Self.address)))
            places.append(addresses)
            kept = Array(buffers.suffix(2))
        }
        // What was left of a large piece may be handed out before what came back.
        #expect(places[0].intersection(places[1]).count >= count / 2)
        pool = nil
        for (index, buffer) in kept.enumerated() {
            #expect(Self.isFilled(buffer, with: count - 2 + index))
        }
    }

    private static func address(_ buffer: AlignedBuffer) -> UInt {
        unsafe buffer.bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }

    private static func fill(_ buffer: AlignedBuffer, with value: Int) {
        var bytes = buffer.mutableBytes
        for offset in stride(from: 0, to: buffer.byteCount, by: 4096) {
            bytes.storeBytes(of: value, toByteOffset: offset, as: Int.self)
        }
    }

    private static func isFilled(_ buffer: AlignedBuffer, with value: Int) -> Bool {
        stride(from: 0, to: buffer.byteCount, by: 4096).allSatisfy {
            unsafe buffer.bytes.unsafeLoad(fromByteOffset: $0, as: Int.self) == value
        }
    }
}

@Suite struct ThreadTests {
    @Test func lockExcludes() throws {
        let counter = Locked(0)
        let threads = try (0..<4).map { index in
            try spawnThread(name: "count-\(index)") {
                for _ in 0..<20_000 { counter.withLock { $0 += 1 } }
            }
        }
        for thread in threads { thread.join() }
        #expect(counter.withLock { $0 } == 80_000)
    }

    @Test func waitingSeesChanges() throws {
        let queue = Locked([Int]())
        let changed = ConditionVariable()
        let producer = try spawnThread(name: "producer") {
            for number in 0..<1000 {
                queue.withLock { $0.append(number) }
                changed.signal()
            }
        }
        var received: [Int] = []
        while received.count < 1000 {
            received += queue.wait(on: changed) { queue -> [Int]? in
                if queue.isEmpty { return nil }
                defer { queue.removeAll() }
                return queue
            }
        }
        producer.join()
        #expect(received == Array(0..<1000))
    }

    @Test func timedWaitEnds() {
        let state = Locked(0)
        let start = Clock.monotonicNanoseconds()
        let result = state.wait(on: ConditionVariable(), deadline: start + 20_000_000) { $0 == 1 ? true : nil }
        #expect(result == nil)
        #expect(Clock.monotonicNanoseconds() - start >= 20_000_000)
    }

    @Test(arguments: [0, 1, 3])
    func parallelLoopVisitsEachOnce(_ threads: Int) throws {
        let pool = try WorkerPool(threads: threads)
        for count in [0, 1, 2, 100, 5000] {
            let seen = Locked([Int](repeating: 0, count: count))
            pool.parallelFor(count) { index in seen.withLock { $0[index] += 1 } }
            #expect(seen.withLock { $0.allSatisfy { $0 == 1 } })
        }
    }

    @Test func parallelLoopThrowsTheFirstError() throws {
        let pool = try WorkerPool(threads: 2)
        for _ in 0..<200 {
            #expect(throws: Errno.ioError) {
                try pool.parallelFor(50) { (index) throws(Errno) in if index == 7 { throw .ioError } }
            }
        }
    }

    @Test func parallelLoopsMayNest() throws {
        let pool = try WorkerPool(threads: 2)
        let total = Locked(0)
        pool.parallelFor(10) { _ in
            pool.parallelFor(10) { _ in total.withLock { $0 += 1 } }
        }
        #expect(total.withLock { $0 } == 100)
    }

    @Test func submittedJobsRunInOrder() throws {
        let pool = try WorkerPool(threads: 1)
        let seen = Locked([Int]())
        let changed = ConditionVariable()
        for index in 0..<100 {
            pool.submit {
                seen.withLock { $0.append(index) }
                changed.signal()
            }
        }
        let result = seen.wait(on: changed) { $0.count == 100 ? $0 : nil }
        #expect(result == Array(0..<100))
    }
}
