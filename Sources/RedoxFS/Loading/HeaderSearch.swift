import BlockDevice
import DiskFormat
import Platform

/// Finds the header of a file system on a device.
enum HeaderSearch {
    /// How many blocks are read at once: the whole ring, as most file systems begin where the device does.
    private static let chunkBlocks = Limits.ringBlocks
    /// How many are read at once where the newest is likely to be.
    private static let followedBlocks: UInt64 = 4

    /// A header and the device's block where the file system begins.
    struct Found {
        var header: Header
        var start: UInt64
        /// All headers of the file system that were looked at, which together say whether it is encrypted.
        var ring: [Header]
    }

    /// The newest header of the first file system on the device, or the one of the wanted generation.
    static func find(_ device: any BlockDevice, _ options: OpenOptions) throws(FileSystemError) -> Found {
        if options.generation == nil, let place = options.lastHeader, let found = try follow(device, place, options) {
            return found
        }
        return try search(device, options)
    }

    /// The newest header, from one that was written or found before: the headers behind it follow in the ring without a gap, as a
    /// commit that can't be written is tried again under its number. Nil if there is no such header any more.
    private static func follow(
        _ device: any BlockDevice, _ place: HeaderPlace, _ options: OpenOptions
    ) throws(FileSystemError) -> Found? {
        let total = device.byteCount / UInt64(Limits.blockSize)
        guard place.start <= total, total - place.start >= Limits.ringBlocks else { return nil }
        var best: Header?
        var next = place.generation
        let buffer = AlignedBuffer(byteCount: Int(followedBlocks) * Limits.blockSize)
        for _ in 0..<Limits.ringBlocks {
            let count = min(followedBlocks, Limits.ringBlocks - next.ringBlock)
            try read(device, place.start + next.ringBlock, count, buffer)
            for index in 0..<count {
                guard let header = header(buffer, Int(index) * Limits.blockSize), header.generation == next,
                    header.uuid == place.uuid
                else {
                    // One that can't be read doesn't hide what lies behind it.
                    for later in (index + 1)..<max(count, index + 1) {
                        if let header = header(buffer, Int(later) * Limits.blockSize), header.uuid == place.uuid,
                            header.generation > next
                        {
                            return nil
                        }
                    }
                    // What says whether it is encrypted may be damaged: then the others are asked.
                    guard let best, !best.isEncrypted, !best.hasKeySlots else { return nil }
                    return try checked(best, device, place.start, options, ring: [best])
                }
                best = header
                next = Generation(next.rawValue &+ 1)
            }
        }
        return nil
    }

    private static func search(_ device: any BlockDevice, _ options: OpenOptions) throws(FileSystemError) -> Found {
        let total = device.byteCount / UInt64(Limits.blockSize)
        let buffer = AlignedBuffer(byteCount: Int(min(chunkBlocks, max(total, 1))) * Limits.blockSize)
        var block: UInt64 = 0
        while block < min(total, options.searchBlocks) {
            let count = min(chunkBlocks, total - block)
            try read(device, block, count, buffer)
            for index in 0..<count {
                let offset = Int(index) * Limits.blockSize
                guard let header = header(buffer, offset),
                    let start = HeaderRing.start(headerAt: block + index, generation: header.generation)
                else { continue }
                if start != block { try read(device, start, min(chunkBlocks, total - start), buffer) }
                return try newest(device, start, header, buffer, options)
            }
            block += count
        }
        throw .noFileSystem
    }

    /// - Parameter buffer: what the device has from the file system's start on, as much as there is of the ring.
    private static func newest(
        _ device: any BlockDevice, _ start: UInt64, _ first: Header, _ buffer: AlignedBuffer, _ options: OpenOptions
    ) throws(FileSystemError) -> Found {
        var (oldest, newest) = (first.generation, first.generation)
        var best: Header? = options.generation == nil || options.generation == first.generation ? first : nil
        var ring: [Header] = []
        let total = device.byteCount / UInt64(Limits.blockSize)
        for block in 0..<min(Limits.ringBlocks, total - start) {
            guard let header = header(buffer, Int(block) * Limits.blockSize),
                HeaderRing.accepts(header.generation, inBlock: block), header.uuid == first.uuid
            else { continue }
            ring.append(header)
            oldest = min(oldest, header.generation)
            newest = max(newest, header.generation)
            if let wanted = options.generation {
                if header.generation == wanted { best = header }
            } else if (best?.generation ?? Generation(0)) < header.generation {
                best = header
            }
        }
        guard let best else {
            throw .noGeneration(options.generation ?? Generation(0), oldest: oldest, newest: newest)
        }
        return try checked(best, device, start, options, ring: ring.isEmpty ? [best] : ring)
    }

    private static func checked(
        _ header: Header, _ device: any BlockDevice, _ start: UInt64, _ options: OpenOptions, ring: [Header]
    ) throws(FileSystemError) -> Found {
        let available = device.byteCount - start * UInt64(Limits.blockSize)
        var header = header
        do {
            if options.readOnly || options.generation != nil {
                // Of a device that was cut off what lies in front of its end can be read; log and release list aren't needed for that.
                header.byteCount = min(header.byteCount, available)
                try header.checkTree()
            } else {
                try header.checkGeometry(availableBytes: available)
            }
        } catch {
            throw .corrupt(error, block: header.generation.ringBlock)
        }
        return Found(header: header, start: start, ring: ring)
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
