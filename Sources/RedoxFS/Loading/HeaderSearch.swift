import BlockDevice
import DiskFormat
import Platform

/// Finds the header of a file system on a device.
enum HeaderSearch {
    /// How many blocks are read at once.
    private static let chunkBlocks: UInt64 = 32

    /// A header and the device's block where the file system begins.
    struct Found {
        var header: Header
        var start: UInt64
    }

    /// The newest header of the first file system on the device, or the one of the wanted generation.
    static func find(_ device: any BlockDevice, _ options: OpenOptions) throws(FileSystemError) -> Found {
        let total = device.byteCount / UInt64(Limits.blockSize)
        let buffer = AlignedBuffer(byteCount: Int(chunkBlocks) * Limits.blockSize)
        var block: UInt64 = 0
        while block < min(total, options.searchBlocks) {
            let count = min(chunkBlocks, total - block)
            try read(device, block, count, buffer)
            for index in 0..<count {
                let offset = Int(index) * Limits.blockSize
                guard let header = header(buffer, offset),
                    let start = HeaderRing.start(headerAt: block + index, generation: header.generation)
                else { continue }
                return try newest(device, start, header, options)
            }
            block += count
        }
        throw .noFileSystem
    }

    private static func newest(
        _ device: any BlockDevice, _ start: UInt64, _ first: Header, _ options: OpenOptions
    ) throws(FileSystemError) -> Found {
        var best: Header? = options.generation == nil || options.generation == first.generation ? first : nil
        let total = device.byteCount / UInt64(Limits.blockSize)
        let buffer = AlignedBuffer(byteCount: Int(chunkBlocks) * Limits.blockSize)
        var block: UInt64 = 0
        while block < Limits.ringBlocks, start + block < total {
            let count = min(chunkBlocks, total - start - block)
            try read(device, start + block, count, buffer)
            for index in 0..<count {
                guard let header = header(buffer, Int(index) * Limits.blockSize),
                    HeaderRing.accepts(header.generation, inBlock: block + index), header.uuid == first.uuid
                else { continue }
                if let wanted = options.generation {
                    if header.generation == wanted { best = header }
                } else if (best?.generation ?? Generation(0)) < header.generation {
                    best = header
                }
            }
            block += count
        }
        guard let best else { throw .noFileSystem }
        do {
            try best.checkGeometry(availableBytes: device.byteCount - start * UInt64(Limits.blockSize))
        } catch {
            throw .corrupt(error, block: best.generation.ringBlock)
        }
        return Found(header: best, start: start)
    }

    private static func header(_ buffer: AlignedBuffer, _ offset: Int) -> Header? {
        let bytes = buffer.bytes(offset..<offset + Limits.blockSize)
        guard Header.isValid(bytes) else { return nil }
        return try? Header(decoding: bytes)
    }

    private static func read(
        _ device: any BlockDevice, _ block: UInt64, _ count: UInt64, _ buffer: AlignedBuffer
    ) throws(FileSystemError) {
        do {
            try device.read(
                at: block * UInt64(Limits.blockSize), into: buffer, 0..<Int(count) * Limits.blockSize)
        } catch {
            throw .device(error)
        }
    }
}
