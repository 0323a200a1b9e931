import BlockDevice
import DiskFormat
import Platform

/// What a figure is held against: the least that the machine has to do for the same bytes.
struct Baseline {
    let name: String
    let work: () throws -> Void

    /// Copying bytes and hashing the copy, piece by piece.
    ///
    /// - Parameter piece: bytes that are copied and hashed at a time.
    static func copyAndHash(_ bytes: [UInt8], total: Int, piece: Int = 128 << 10) -> Baseline {
        let target = AlignedBuffer(byteCount: piece)
        return Baseline(name: "copying and hashing") {
            var sum: UInt64 = 0
            for offset in stride(from: 0, to: total, by: piece) {
                let start = offset % bytes.count
                target.copyBytes(from: bytes.rawBytes.extracting(start..<start + piece), at: 0)
                sum ^= SeaHash.hash(target.bytes)
            }
            // The compiler must not find out that nobody needs the sum.
            if sum == 1 { Report.line("", "") }
        }
    }

    /// Writing the bytes to the place beside the file system, over and over if they are more than fit, and flushing.
    static func plainWriting(_ bytes: [UInt8], total: Int, piece: Int = 1 << 20, _ place: Place) -> Baseline {
        let buffer = AlignedBuffer(byteCount: piece)
        return Baseline(name: "plain writing") {
            for offset in stride(from: 0, to: total, by: piece) {
                let start = offset % bytes.count
                buffer.copyBytes(from: bytes.rawBytes.extracting(start..<start + piece), at: 0)
                try place.beside.write(at: UInt64(offset) % place.beside.byteCount, [BufferSlice(buffer)])
            }
            try place.beside.flush()
        }
    }

    /// Writing blocks of 4 KiB one after another, each flushed.
    static func flushedBlocks(_ count: Int, _ place: Place) -> Baseline {
        let buffer = AlignedBuffer(byteCount: 4096)
        return Baseline(name: "writing and flushing a block") {
            for index in 0..<count {
                try place.beside.write(at: UInt64(index % 1000) << 12, [BufferSlice(buffer)])
                try place.beside.flush()
            }
        }
    }

    /// Reading what was written beside the file system.
    ///
    /// - Parameters:
    ///   - hashes: what was read is hashed, too.
    static func plainReading(total: Int, piece: Int = 1 << 20, hashes: Bool = false, _ place: Place) -> Baseline {
        let buffer = AlignedBuffer(byteCount: piece)
        return Baseline(name: hashes ? "reading and hashing" : "plain reading") {
            var sum: UInt64 = 0
            for offset in stride(from: 0, to: total, by: piece) {
                let start = UInt64(offset) % (place.beside.byteCount - UInt64(piece) + 4096)
                try place.beside.read(at: start, into: buffer, 0..<piece)
                if hashes { sum ^= SeaHash.hash(buffer.bytes) }
            }
            if sum == 1 { Report.line("", "") }
        }
    }

    /// The baseline of writing: copying and hashing in memory, plain writing in a file.
    static func writing(_ bytes: [UInt8], total: Int, piece: Int, _ place: Place) -> Baseline {
        place.isMemory
            ? copyAndHash(bytes, total: total, piece: min(piece, 128 << 10))
            : plainWriting(bytes, total: total, piece: piece, place)
    }

    /// The baseline of reading: copying and hashing in memory, plain reading of a file.
    static func reading(_ bytes: [UInt8], total: Int, piece: Int, _ place: Place) -> Baseline {
        place.isMemory
            ? copyAndHash(bytes, total: total, piece: min(piece, 128 << 10))
            : plainReading(total: total, piece: piece, place)
    }

    /// The baseline of changing names: a block copied and hashed, or written, for each.
    static func block(_ count: Int, _ place: Place) -> Baseline {
        var generator = SplitMix(seed: 11)
        let bytes = generator.bytes(1 << 20)
        let plain = writing(bytes, total: count * 4096, piece: 4096, place)
        return Baseline(name: "\(plain.name) a block each", work: plain.work)
    }
}
