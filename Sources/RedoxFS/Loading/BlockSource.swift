import BlockCodec
import BlockDevice
import DiskFormat
import Platform

/// Reads blocks of a file system: position on the device, decryption, hash. Knows nothing of what is in memory.
struct BlockSource: Sendable {
    /// The device.
    let device: any BlockDevice
    /// Byte offset of the file system on the device.
    let start: UInt64
    /// How many blocks the file system has.
    let blockCount: UInt64
    /// The cipher of an encrypted file system.
    let cipher: BlockCipher?
    /// Where buffers come from.
    let pool: BufferPool

    /// The plain bytes of a block as stored, checked against the pointer's hash.
    func read(
        _ pointer: BlockPointer, as structure: FormatError.Structure
    ) throws(FileSystemError) -> AlignedBuffer {
        let address = pointer.address
        guard address.isInside(blocks: blockCount), address.level <= Limits.maximumRecordLevel else {
            throw .corrupt(
                FormatError(structure, .outOfRange, value: address.rawValue), block: address.number)
        }
        let buffer = pool.take(level: address.level)
        do {
            try device.read(at: start &+ address.byteOffset, into: buffer, 0..<buffer.byteCount)
        } catch {
            throw .device(error)
        }
        if let cipher {
            var bytes = buffer.mutableBytes
            do {
                try cipher.decrypt(&bytes, firstBlock: address.number)
            } catch {
                throw .cipher("\(error)")
            }
        }
        guard pointer.matches(buffer.bytes) else {
            throw .corrupt(FormatError(structure, .hash, value: pointer.hash), block: address.number)
        }
        return buffer
    }

    /// The content of a stored record: as it is, or decompressed.
    func content(
        of stored: AlignedBuffer, _ address: BlockAddress
    ) throws(FileSystemError) -> AlignedBuffer {
        guard address.isCompressed else { return stored }
        let plain = pool.take(level: address.decompressedLevel)
        var target = plain.mutableBytes
        do {
            try LZ4Record.decompress(stored.bytes, into: &target)
        } catch {
            throw .corrupt(FormatError(.record, .length), block: address.number)
        }
        return plain
    }
}
