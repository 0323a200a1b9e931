import Platform
import SystemPackage

/// A disk with a volatile cache, for tests: it records what is written and flushed, so that every state that a loss of
/// power may leave can be made afterwards (`CrashStates`), counts its operations and fails when told.
///
/// The device below is only read. It must not change as long as this one or its recording is used.
public final class SimulatedDevice: BlockDevice {
    /// What the device was asked for.
    public struct Counts: Equatable, Sendable {
        /// Calls of `read`.
        public var reads = 0
        /// Calls of `write`.
        public var writes = 0
        /// Calls of `flush`.
        public var flushes = 0
        /// Calls of `discard`.
        public var discards = 0
        /// Bytes asked for by reads.
        public var bytesRead: UInt64 = 0
        /// Bytes given to writes.
        public var bytesWritten: UInt64 = 0

        /// Reads, writes and flushes: what a failure counts.
        public var operations: Int { reads + writes + flushes }
    }

    /// A failure to come.
    public struct Failure: Sendable {
        /// How long it lasts.
        public enum Duration: Sendable {
            /// One operation.
            case once
            /// Until `failure` is set to nil: the disk is gone.
            case permanent
        }

        /// The operation that fails first, 0 for the next one.
        public var after: Int
        /// How long it lasts.
        public var duration: Duration
        /// The kinds of operations that are counted and fail.
        public var operations: Set<BlockDeviceError.Operation>
        /// What the system reports.
        public var errno: Errno

        /// A failure of the operation that follows `after` others of the given kinds.
        public init(
            after: Int, duration: Duration = .once,
            operations: Set<BlockDeviceError.Operation> = [.read, .write, .flush], errno: Errno = .ioError
        ) {
            self.after = after
            self.duration = duration
            self.operations = operations
            self.errno = errno
        }
    }

    private struct State {
        var pages = PageMap()
        var byteCount: UInt64
        var counts = Counts()
        var recording = WriteRecording()
        var failure: Failure?
        var failuresSeen = 0
        var generator: SeededGenerator
    }

    private let base: any BlockDevice
    private let isRecording: Bool
    private let state: Locked<State>

    /// - Parameters:
    ///   - base: the contents at the start.
    ///   - recordsWrites: whether writes are kept for `CrashStates`; costs the memory of all of them.
    ///   - seed: decides which part of a failing write reaches the device.
    public init(over base: any BlockDevice, recordsWrites: Bool = true, seed: UInt64 = 0) {
        self.base = base
        isRecording = recordsWrites
        state = Locked(State(byteCount: base.byteCount, generator: SeededGenerator(seed: seed)))
    }

    /// A device of zeros.
    public convenience init(byteCount: UInt64, recordsWrites: Bool = true, seed: UInt64 = 0) {
        self.init(over: SparseMemoryDevice(byteCount: byteCount), recordsWrites: recordsWrites, seed: seed)
    }

    /// The size in bytes.
    public var byteCount: UInt64 { state.withLock { $0.byteCount } }

    /// Always.
    public var isWritable: Bool { true }

    /// What the device was asked for so far.
    public var counts: Counts { state.withLock { $0.counts } }

    /// The failure to come, or that lasts; nil: everything works.
    public var failure: Failure? {
        get { state.withLock { $0.failure } }
        set { state.withLock { $0.failure = newValue } }
    }

    /// How many operations have failed by order.
    public var failuresSeen: Int { state.withLock { $0.failuresSeen } }

    /// The number of recorded writes and flushes. What was acknowledged when it was n must be in every crash state at
    /// a point from n on, if it was flushed.
    public var recordedCount: Int { state.withLock { $0.recording.entries.count } }

    /// The states that a loss of power may leave, for everything recorded so far.
    public func crashStates() -> CrashStates {
        let recording = state.withLock { $0.recording }
        return CrashStates(recording: recording, over: base)
    }

    /// A copy of the contents as the running program sees them.
    public func currentContents() -> OverlayDevice {
        state.withLock { OverlayDevice(over: base, pages: $0.pages, byteCount: $0.byteCount, isWritable: true) }
    }

    /// Fills the buffer with what was written last, flushed or not.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let length = buffer.byteCount
        try checkRange(offset, UInt64(length), .read)
        let pages = try state.withLock { state throws(BlockDeviceError) in
            state.counts.reads += 1
            state.counts.bytesRead += UInt64(length)
            if let code = Self.nextFailure(&state, .read) {
                throw .io(code, offset: offset, length: length, operation: .read)
            }
            return state.pages
        }
        try pages.read(at: offset, into: &buffer, over: base)
    }

    /// Writes to the volatile cache. Of a write that fails any of the sectors may have been written.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        let length = try checkedLength(at: offset, buffers)
        guard let count = Int(exactly: length) else { throw .unsupported(.write) }
        let copy = AlignedBuffer(uninitializedByteCount: count)
        var position = 0
        for buffer in buffers {
            copy.copyBytes(from: buffer.bytes, at: position)
            position += buffer.byteCount
        }
        try state.withLock { state throws(BlockDeviceError) in
            state.counts.writes += 1
            state.counts.bytesWritten += length
            let write = RecordedWrite(offset: offset, bytes: copy)
            guard let code = Self.nextFailure(&state, .write) else {
                try state.pages.write(at: offset, copy.bytes, over: base)
                if isRecording { state.recording.entries.append(.write(write)) }
                return
            }
            for sector in 0..<write.sectorCount where state.generator.chance(0.5) {
                let range = write.sectorRange(sector)
                let part = RecordedWrite(
                    offset: offset + UInt64(range.lowerBound), bytes: AlignedBuffer(copying: copy.bytes(range)))
                try state.pages.write(at: part.offset, part.bytes.bytes, over: base)
                if isRecording { state.recording.entries.append(.write(part)) }
            }
            throw .io(code, offset: offset, length: count, operation: .write)
        }
    }

    /// Makes everything written before survive. A flush that fails makes nothing survive that didn't before.
    public func flush() throws(BlockDeviceError) {
        try state.withLock { state throws(BlockDeviceError) in
            state.counts.flushes += 1
            if let code = Self.nextFailure(&state, .flush) {
                throw .io(code, offset: 0, length: 0, operation: .flush)
            }
            if isRecording { state.recording.entries.append(.flush) }
        }
    }

    /// Makes the range zero.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkRange(offset, length, .discard)
        guard let count = Int(exactly: length), count > 0 else { return }
        let zeros = AlignedBuffer(byteCount: count)
        try state.withLock { state throws(BlockDeviceError) in
            state.counts.discards += 1
            try state.pages.write(at: offset, zeros.bytes, over: base)
            if isRecording {
                state.recording.entries.append(.write(RecordedWrite(offset: offset, bytes: zeros)))
            }
        }
    }

    /// Changes the size, durably at once.
    public func resize(to byteCount: UInt64) throws(BlockDeviceError) {
        try state.withLock { state throws(BlockDeviceError) in
            try state.pages.resize(from: state.byteCount, to: byteCount, over: base)
            state.byteCount = byteCount
            if isRecording { state.recording.entries.append(.resize(byteCount)) }
        }
    }

    private static func nextFailure(_ state: inout State, _ operation: BlockDeviceError.Operation) -> Errno? {
        guard var failure = state.failure, failure.operations.contains(operation) else { return nil }
        if failure.after > 0 {
            failure.after -= 1
            state.failure = failure
            return nil
        }
        if failure.duration == .once { state.failure = nil }
        state.failuresSeen += 1
        return failure.errno
    }
}
