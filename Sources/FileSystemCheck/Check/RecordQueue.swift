import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Records whose content is to be read and hashed: gathered while the metadata is walked, read in the order of the
/// disk by all threads.
struct RecordQueue {
    struct Item: Sendable {
        let pointer: BlockPointer
        let node: UInt32
        let record: UInt64
    }

    /// A record whose content is not what it should be.
    struct Failure: Sendable {
        let item: Item
        /// Nil if it can be read but not decompressed.
        let fault: BlockReader.Fault?
    }

    /// Stands in for the record's number where the content is the value of an attribute.
    static let attributeValue = UInt64.max
    /// How many records are gathered before they are read: at 128 KiB each, 64 GiB.
    static let batchCount = 1 << 19
    /// Bytes that are read at once at most: what was read is still in the processor's cache when it is hashed.
    private static let runBytes: UInt64 = 256 << 10
    private static let readOverGap: UInt64 = 8

    let reader: BlockReader
    private(set) var items: [Item] = []
    private(set) var verifiedBytes: UInt64 = 0
    private let threads: Int
    private var pool: WorkerPool?

    init(reader: BlockReader, threads: Int?, isEnabled: Bool) {
        self.reader = reader
        self.threads = isEnabled ? threads ?? max(Processors.count - 1, 0) : 0
    }

    var isFull: Bool { items.count >= Self.batchCount }

    mutating func append(_ item: Item) { items.append(item) }

    /// Reads and hashes what was gathered; returns what is wrong, in the order of the disk.
    mutating func drain(progress: (@Sendable (UInt64) -> Void)? = nil) -> [Failure] {
        let sorted = items.sorted { $0.pointer.address.number < $1.pointer.address.number }
        items.removeAll(keepingCapacity: true)
        guard !sorted.isEmpty else { return [] }
        if pool == nil {
            // Without threads the caller does it all.
            pool = try? WorkerPool(threads: threads)
        }
        let runs = Self.runs(sorted)
        let reader = reader
        let result = Locked((failures: [Failure](), bytes: UInt64(0)))
        let before = verifiedBytes
        let workspaces = Locked([Workspace]())
        let work: @Sendable (Int) -> Void = { index in
            let workspace = workspaces.withLock { $0.popLast() } ?? Workspace()
            let (failures, bytes) = Self.verify(sorted[runs[index]], reader, workspace)
            workspaces.withLock { $0.append(workspace) }
            let total = result.withLock { result in
                result.failures += failures
                result.bytes += bytes
                return result.bytes
            }
            progress?(before + total)
        }
        if let pool {
            pool.parallelFor(runs.count, work)
        } else {
            runs.indices.forEach(work)
        }
        let (failures, bytes) = result.withLock { ($0.failures, $0.bytes) }
        verifiedBytes += bytes
        return failures.sorted { $0.item.pointer.address.number < $1.item.pointer.address.number }
    }

    /// Cuts the records, sorted by block, into runs that are read at once.
    private static func runs(_ items: [Item]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var from = 0
        for index in items.indices.dropFirst() {
            let end = items[index - 1].pointer.address.blocks.upperBound
            let next = items[index].pointer.address.blocks
            let isNear = next.lowerBound <= end + readOverGap
            let total = (next.upperBound - items[from].pointer.address.number) << 12
            if !isNear || total > runBytes {
                runs.append(from..<index)
                from = index
            }
        }
        runs.append(from..<items.count)
        return runs
    }

    /// The memory that a thread works with, used again for the next run.
    private struct Workspace {
        let run = AlignedBuffer(uninitializedByteCount: Int(RecordQueue.runBytes))
        let record = AlignedBuffer(uninitializedByteCount: Limits.maximumRecordSize)
    }

    private static func verify(
        _ items: ArraySlice<Item>, _ reader: BlockReader, _ workspace: Workspace
    ) -> ([Failure], UInt64) {
        guard let first = items.first else { return ([], 0) }
        let start = first.pointer.address.number
        let end = items.reduce(start) { max($0, $1.pointer.address.blocks.upperBound) }
        let byteCount = Int((end - start) << 12)
        // Records that overlap can make a run longer.
        let isLonger = byteCount > workspace.run.byteCount
        let buffer = isLonger ? AlignedBuffer(uninitializedByteCount: byteCount) : workspace.run
        var failures: [Failure] = []
        var bytes: UInt64 = 0
        let isWhole =
            (try? reader.device.read(at: reader.start + start << 12, into: buffer, 0..<byteCount)) != nil
        var decrypted = start
        let scratch = workspace.record
        for item in items {
            let address = item.pointer.address
            let offset = Int((address.number - start) << 12)
            let range = offset..<offset + address.byteCount
            bytes += UInt64(address.byteCount)
            if !isWhole || address.number < decrypted {
                // Read alone: the run has an unreadable place, or the record overlaps the one before.
                do throws(BlockReader.Fault) {
                    let block = try reader.readVerified(item.pointer)
                    if !isDecompressible(block.bytes, address, scratch) {
                        failures.append(Failure(item: item, fault: nil))
                    }
                } catch {
                    failures.append(Failure(item: item, fault: error))
                }
                continue
            }
            do throws(BlockReader.Fault) {
                try reader.decrypt(address.number, buffer, range)
            } catch {
                failures.append(Failure(item: item, fault: error))
            }
            decrypted = address.blocks.upperBound
            let found = SeaHash.hash(buffer.bytes(range))
            if found != item.pointer.hash {
                failures.append(Failure(item: item, fault: .hash(found: found)))
            } else if !isDecompressible(buffer.bytes(range), address, scratch) {
                failures.append(Failure(item: item, fault: nil))
            }
        }
        return (failures, bytes)
    }

    /// Whether a record is not compressed, or can be decompressed (format: Compression).
    static func isDecompressible(_ stored: RawSpan, _ address: BlockAddress, _ scratch: AlignedBuffer) -> Bool {
        guard address.isCompressed else { return true }
        guard address.contentByteCount <= scratch.byteCount else { return false }
        var target = scratch.mutableBytes(0..<address.contentByteCount)
        return (try? LZ4Record.decompress(stored, into: &target)) != nil
    }
}

extension Checker {
    /// Gathers a record; reads what was gathered when it is enough.
    mutating func queue(_ item: RecordQueue.Item) {
        records.append(item)
        if records.isFull {
            checkRecordContents()
        }
    }

    /// Reads and hashes the records that were gathered.
    mutating func checkRecordContents() {
        let tell = options.progress
        let failures = records.drain { done in
            tell?(CheckProgress(phase: .data, done: done, total: 0))
        }
        for failure in failures {
            let item = failure.item
            if item.record == RecordQueue.attributeValue {
                findings.add(
                    .attributesUnreadable, block: item.pointer.address.number, node: item.node,
                    "the value of an attribute: " + (failure.fault.map { "\($0)" } ?? "it can't be read"))
                damage[item.node].losesAttributes = true
                continue
            }
            if let fault = failure.fault {
                findings.add(
                    .recordUnreadable, block: item.pointer.address.number, node: item.node,
                    "record \(item.record): \(fault)")
            } else {
                findings.add(
                    .compressedRecordInvalid, block: item.pointer.address.number, node: item.node,
                    "record \(item.record) can't be decompressed")
            }
            damage[item.node].lost.insert(RecordCut(firstRecord: item.record, depth: 0))
        }
    }
}
