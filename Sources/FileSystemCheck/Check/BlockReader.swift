import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Reads decrypted blocks of one file system.
struct BlockReader: Sendable {
    let device: any BlockDevice
    /// Where block 0 of the file system lies on the device, in bytes.
    let start: UInt64
    /// Blocks that both the header and the device have.
    let blockCount: UInt64
    /// Decrypts what is read; nil if the disk isn't encrypted.
    let cipher: BlockCipher?

    /// Why the content of a pointer can't be had.
    enum Fault: Error, Equatable {
        case device(BlockDeviceError)
        case cipher(CodecError)
        case hash(found: UInt64)
        /// The pointer can't be followed at all.
        case pointer
    }

    /// Blocks that are read together at most.
    static let batchSize = 64
    /// Gaps of up to so many blocks are read over rather than seeked over.
    private static let readOverGap: UInt64 = 4

    /// Fills a range of the buffer, whole blocks, with the decrypted blocks from `number` on.
    func read(_ number: UInt64, into buffer: AlignedBuffer, _ range: Range<Int>) throws(Fault) {
        do throws(BlockDeviceError) {
            try device.read(at: start + number << 12, into: buffer, range)
        } catch {
            throw .device(error)
        }
        try decrypt(number, buffer, range)
    }

    /// Decrypts blocks from `number` on that were read into a range of the buffer.
    func decrypt(_ number: UInt64, _ buffer: AlignedBuffer, _ range: Range<Int>) throws(Fault) {
        guard let cipher else { return }
        do throws(CodecError) {
            var bytes = buffer.mutableBytes(range)
            try cipher.decrypt(&bytes, firstBlock: number)
        } catch {
            throw .cipher(error)
        }
    }

    /// The plain bytes of a block of any level, with the right hash. The pointer must be inside the file system.
    func readVerified(_ pointer: BlockPointer) throws(Fault) -> AlignedBuffer {
        guard pointer.address.isInside(blocks: blockCount), pointer.address.level <= Int(Limits.maximumRecordLevel)
        else { throw .pointer }
        let buffer = AlignedBuffer(uninitializedByteCount: pointer.address.byteCount)
        try read(pointer.address.number, into: buffer, 0..<buffer.byteCount)
        let found = SeaHash.hash(buffer.bytes)
        guard found == pointer.hash else { throw .hash(found: found) }
        return buffer
    }

    /// Up to `batchSize` metadata blocks of one block each, read in the order of the disk and verified. The pointers
    /// must be inside the file system.
    func readBatch(_ pointers: [BlockPointer]) -> LoadedBlocks {
        let buffer = AlignedBuffer(uninitializedByteCount: max(pointers.count, 1) * Limits.blockSize)
        var faults = [Fault?](repeating: nil, count: pointers.count)
        if cipher != nil || pointers.count < 4 {
            for (index, pointer) in pointers.enumerated() {
                readOne(pointer, index, into: buffer, &faults)
            }
            return LoadedBlocks(buffer: buffer, faults: faults)
        }
        let order = pointers.indices.sorted { pointers[$0].address.number < pointers[$1].address.number }
        var from = 0
        while from < order.count {
            let first = pointers[order[from]].address.number
            var last = first
            var to = from + 1
            while to < order.count {
                let next = pointers[order[to]].address.number
                guard next - last <= Self.readOverGap, next - first < UInt64(Self.batchSize) * 2 else { break }
                last = next
                to += 1
            }
            if to - from < 3 || !readRun(first...last, order[from..<to], pointers, into: buffer, &faults) {
                for index in order[from..<to] {
                    readOne(pointers[index], index, into: buffer, &faults)
                }
            }
            from = to
        }
        return LoadedBlocks(buffer: buffer, faults: faults)
    }

    /// Reads neighbours at once and hands them out; false if the device can't read all of them.
    private func readRun(
        _ run: ClosedRange<UInt64>, _ indices: ArraySlice<Int>, _ pointers: [BlockPointer],
        into buffer: AlignedBuffer, _ faults: inout [Fault?]
    ) -> Bool {
        let scratch = AlignedBuffer(uninitializedByteCount: run.count * Limits.blockSize)
        do {
            try read(run.lowerBound, into: scratch, 0..<scratch.byteCount)
        } catch {
            return false
        }
        for index in indices {
            let offset = Int(pointers[index].address.number - run.lowerBound) * Limits.blockSize
            let block = scratch.bytes(offset..<offset + Limits.blockSize)
            buffer.copyBytes(from: block, at: index * Limits.blockSize)
            let found = SeaHash.hash(block)
            if found != pointers[index].hash {
                faults[index] = .hash(found: found)
            }
        }
        return true
    }

    private func readOne(
        _ pointer: BlockPointer, _ index: Int, into buffer: AlignedBuffer, _ faults: inout [Fault?]
    ) {
        let range = index * Limits.blockSize..<(index + 1) * Limits.blockSize
        do throws(Fault) {
            try read(pointer.address.number, into: buffer, range)
        } catch {
            faults[index] = error
            return
        }
        let found = SeaHash.hash(buffer.bytes(range))
        if found != pointer.hash {
            faults[index] = .hash(found: found)
        }
    }
}

/// Metadata blocks in memory, each with what is wrong with it.
struct LoadedBlocks {
    let buffer: AlignedBuffer
    let faults: [BlockReader.Fault?]

    /// The bytes of the block at an index, meaningful if it has no fault.
    @_lifetime(borrow self)
    func bytes(_ index: Int) -> RawSpan {
        let span = buffer.bytes(index * Limits.blockSize..<(index + 1) * Limits.blockSize)
        return unsafe _overrideLifetime(span, borrowing: self)
    }
}

extension BlockReader.Fault: CustomStringConvertible {
    var description: String {
        switch self {
        case .device(let error): "it can't be read: \(error)"
        case .cipher(let error): "it can't be decrypted: \(error)"
        case .hash(let found): "its hash is \(String(found, radix: 16)), not that of the pointer"
        case .pointer: "the pointer leads nowhere"
        }
    }
}
