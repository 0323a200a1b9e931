import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// The header ring of a file system, for the tools that change nothing but headers: passwords, rollback.
public struct HeaderStore: Sendable {
    /// How many first blocks of a disk are searched for a header.
    static let searchedBlocks: UInt64 = 65_536

    /// The device's block where the file system begins: what lies in front is reserved, for a boot loader.
    public let start: UInt64
    /// All valid headers of the ring, the newest first.
    public let headers: [Header]
    /// The generation after the newest, if its header was begun but is torn: what that commit changed is lost.
    public let tornGeneration: Generation?
    private let device: any BlockDevice

    /// Finds the ring; nil if there is no RedoxFS.
    public init?(_ device: any BlockDevice) throws(BlockDeviceError) {
        guard let found = try Self.firstHeader(device),
            let start = HeaderRing.start(headerAt: found.block, generation: found.header.generation)
        else { return nil }
        var headers: [Header] = []
        var torn: Set<UInt64> = []
        let buffer = AlignedBuffer(byteCount: Limits.blockSize)
        for block in 0..<Limits.ringBlocks {
            let offset = (start + block) * UInt64(Limits.blockSize)
            guard offset + UInt64(Limits.blockSize) <= device.byteCount else { break }
            try device.read(at: offset, into: buffer, 0..<Limits.blockSize)
            guard let header = try? Header(decoding: buffer.bytes) else {
                if !buffer.bytes.isAllZero() { torn.insert(block) }
                continue
            }
            guard header.uuid == found.header.uuid, HeaderRing.accepts(header.generation, inBlock: block) else {
                continue
            }
            headers.append(header)
        }
        if headers.isEmpty { return nil }
        self.device = device
        self.start = start
        self.headers = headers.sorted { $1.generation < $0.generation }
        let next = self.headers[0].generation.next
        tornGeneration = torn.contains(next.ringBlock) ? next : nil
    }

    /// The header that is current.
    public var newest: Header { headers[0] }

    /// Writes a header to its place in the ring.
    public func write(_ header: Header) throws(BlockDeviceError) {
        let buffer = AlignedBuffer(byteCount: Limits.blockSize)
        var bytes = buffer.mutableBytes
        header.encode(into: &bytes)
        try device.write(at: (start + header.generation.ringBlock) * UInt64(Limits.blockSize), buffer)
    }

    /// Writes a header and waits until it is on the medium.
    public func writeDurably(_ header: Header) throws(BlockDeviceError) {
        try write(header)
        try flush()
    }

    /// Waits until everything written is on the medium.
    public func flush() throws(BlockDeviceError) {
        try device.flush()
    }

    /// The first valid header among the first blocks of a disk.
    static func firstHeader(
        _ device: any BlockDevice
    ) throws(BlockDeviceError) -> (block: UInt64, header: Header)? {
        let blocks = min(device.byteCount / UInt64(Limits.blockSize), searchedBlocks)
        let chunk: UInt64 = 64
        let buffer = AlignedBuffer(byteCount: Int(chunk) * Limits.blockSize)
        var block: UInt64 = 0
        while block < blocks {
            let count = min(chunk, blocks - block)
            try device.read(
                at: block * UInt64(Limits.blockSize), into: buffer, 0..<Int(count) * Limits.blockSize)
            for index in 0..<Int(count) {
                let start = index * Limits.blockSize
                let bytes = buffer.bytes(start..<start + Limits.blockSize)
                guard Header.isValid(bytes), let header = try? Header(decoding: bytes),
                    HeaderRing.start(headerAt: block + UInt64(index), generation: header.generation) != nil
                else { continue }
                return (block + UInt64(index), header)
            }
            block += count
        }
        return nil
    }
}
