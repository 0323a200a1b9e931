import DiskFormat
import TestSupport
import Testing

/// Headers of real images decode to what their manifests say.
@Suite struct GoldenHeaderTests {
    @Test(arguments: GoldenImage.allCases)
    func currentHeader(image: GoldenImage) throws {
        let manifest = try image.manifest().header
        let bytes = try image.bytes()
        var newest: (header: Header, start: UInt64)?
        for block in 0..<UInt64(512) {
            let span = bytes.rawBytes.extracting(Int(block) * 4096..<Int(block + 1) * 4096)
            guard Header.isValid(span) else { continue }
            let header = try Header(decoding: span)
            let start = try #require(HeaderRing.start(headerAt: block, generation: header.generation))
            #expect(start == manifest.block)
            if let found = newest, found.header.generation > header.generation { continue }
            newest = (header, start)
        }
        let (header, start) = try #require(newest)
        #expect(start == manifest.block)
        #expect(header.generation.rawValue == manifest.generation)
        #expect(header.byteCount == manifest.size)
        #expect(Hexadecimal.text(header.uuid.bytes) == manifest.uuid)
        #expect(header.isEncrypted == manifest.encrypted)
        #expect(header.releaseList.isNull == manifest.releaseNodes.isEmpty)
        try header.checkGeometry(availableBytes: UInt64(bytes.count) - start * 4096)
        #expect(header.headerExtension == nil)
        #expect(header.contentHash == header.storedHash)
        // Sealing an unchanged header changes nothing but the encrypted hash, if there is one.
        var again = header
        again.seal()
        if !header.isEncrypted { #expect(again.bytes == header.bytes) }
    }

    @Test func everyBitFlipIsDetected() throws {
        let bytes = try GoldenImage.empty.bytes()
        let block = Array(bytes[(254 % 256) * 4096..<(254 % 256 + 1) * 4096])
        let found = Header.isValid(block.rawBytes) ? block : Array(bytes[3 * 4096..<4 * 4096])
        try #require(Header.isValid(found.rawBytes) == true)
        var changed = found
        for bit in 0..<4096 * 8 {
            changed[bit / 8] ^= 1 << (bit % 8)
            let inEncryptedHash = (4072..<4088).contains(bit / 8)
            #expect(Header.isValid(changed.rawBytes) == inEncryptedHash)
            if inEncryptedHash { #expect(try Header(decoding: changed.rawBytes).isEncrypted) }
            changed[bit / 8] ^= 1 << (bit % 8)
        }
    }
}
