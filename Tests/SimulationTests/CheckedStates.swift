import BlockDevice
import Platform

/// States of a disk that were checked in full, so that the check of another one can be spared if it would read the same.
///
/// A check reads the disk and depends on nothing else. When a state has the same bytes wherever the check of another one
/// has read, its own check would read the same first block, so the same second one, and so on to the same result. Most
/// losses of power change only blocks that the newest whole generation doesn't reach: that this is so is what is shown.
struct CheckedStates<Result> {
    private struct Entry {
        let state: CrashState
        let read: [Bool]
        let result: Result
    }

    private var flushedCount = -1
    private var entries: [Entry] = []
    /// How many checks were made.
    private(set) var checkCount = 0

    /// The result of the check of a state, made or known.
    mutating func result(of state: CrashState, check: (any BlockDevice) throws -> Result) throws -> Result {
        if state.flushedCount != flushedCount {
            flushedCount = state.flushedCount
            entries = []
        }
        for entry in entries where try isSame(state, entry) { return entry.result }
        let recorder = ReadRecorder(state.device)
        let result = try check(recorder)
        checkCount += 1
        entries.append(Entry(state: state, read: recorder.readPages, result: result))
        return result
    }

    /// Whether a state has what the entry's check has read.
    private func isSame(_ state: CrashState, _ entry: Entry) throws -> Bool {
        guard state.device.byteCount == entry.state.device.byteCount else { return false }
        for page in Set(state.changedPages).union(entry.state.changedPages) where entry.read[Int(page)] {
            let one = try state.device.readBytes(at: page << 12, count: 4096)
            let other = try entry.state.device.readBytes(at: page << 12, count: 4096)
            if one != other { return false }
        }
        return true
    }
}

/// A device that is only read, and notes which 4 KiB pages.
final class ReadRecorder: BlockDevice {
    private let base: any BlockDevice
    private let pages: Locked<[Bool]>
    let isWritable = false

    init(_ base: any BlockDevice) {
        self.base = base
        pages = Locked([Bool](repeating: false, count: Int((base.byteCount + 4095) >> 12)))
    }

    var byteCount: UInt64 { base.byteCount }

    /// By number: whether something of the page was read.
    var readPages: [Bool] { pages.withLock { $0 } }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        try base.read(at: offset, into: &buffer)
        let end = offset + UInt64(buffer.byteCount)
        pages.withLock { pages in
            for page in offset >> 12..<(end + 4095) >> 12 { pages[Int(page)] = true }
        }
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) { throw .readOnly }

    func flush() throws(BlockDeviceError) {}
}
