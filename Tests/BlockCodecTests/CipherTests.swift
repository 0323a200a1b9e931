import BlockCodec
import DiskFormat
import TestSupport
import Testing

/// Ciphers and key slots equal the reference implementation's.
@Suite struct CipherTests {
    static func cipher() throws -> BlockCipher {
        let slot = try GoldenVectors.load().keyslot
        return try BlockCipher(key1: bytes16(slot.key1), key2: bytes16(slot.key2))
    }

    static func bytes16(_ hex: String) throws -> Bytes16 {
        try #require(Hexadecimal.bytes(hex).flatMap { Bytes16($0) })
    }

    @Test func blocksOfVectors() throws {
        let cipher = try Self.cipher()
        let plain = (0..<4096).map { UInt8(truncatingIfNeeded: $0 * 7 + 3) } + [UInt8](repeating: 0, count: 4096)
        let vectors = try GoldenVectors.load().ciphers
        #expect(vectors.count == 4)
        for (block, vector) in vectors {
            var bytes = plain
            try bytes.withMutableRawBytes { (span) throws(CodecError) in try cipher.encrypt(&span, firstBlock: block) }
            #expect(Hexadecimal.text(Array(bytes.prefix(32))) == vector.first32)
            #expect(Hexadecimal.text(Array(bytes[4096..<4128])) == vector.secondSector)
            let hash = SeaHash.hash(bytes.rawBytes)
            #expect(hash == UInt64(vector.hash, radix: 16))
            var copy = [UInt8](repeating: 0, count: 8192)
            try copy.withMutableRawBytes { (span) throws(CodecError) in
                try cipher.encrypt(plain.rawBytes, into: &span, firstBlock: block)
            }
            #expect(copy == bytes)
            try bytes.withMutableRawBytes { (span) throws(CodecError) in try cipher.decrypt(&span, firstBlock: block) }
            #expect(bytes == plain)
        }
    }

    @Test func passwordAndSlotOfVectors() throws {
        let vectors = try GoldenVectors.load()
        let salt = try #require(Bytes16((0..<16).map { UInt8($0) }))
        let password = Array(vectors.argon2id.password.utf8)
        #expect(Hexadecimal.text(try KeyDerivation.key(password: password, salt: salt).bytes) == vectors.argon2id.out16)
        let slot = try KeySlots.make(
            password: password, salt: salt, key1: Self.bytes16(vectors.keyslot.key1),
            key2: Self.bytes16(vectors.keyslot.key2))
        #expect(Hexadecimal.text(slot.key1.bytes) == vectors.keyslot.enc1)
        #expect(Hexadecimal.text(slot.key2.bytes) == vectors.keyslot.enc2)
        #expect(slot.salt == salt)
    }

    @Test func slots() throws {
        let cipher = try Self.cipher()
        var header = Header(uuid: Bytes16(low: 1), byteCount: 1 << 24, generation: Generation(300))
        for (index, password) in ["first", "", "third"].enumerated() {
            let slot = try KeySlots.make(
                password: Array(password.utf8), salt: Bytes16(low: UInt64(index) + 1), key1: cipher.keys.data,
                key2: cipher.keys.tweak)
            #expect(try KeySlots.add(slot, to: &header) == index)
        }
        try header.seal(with: cipher)
        #expect(header.isEncrypted && KeySlots.usedCount(header) == 3)
        for (index, password) in ["first", "", "third"].enumerated() {
            let found = try #require(try KeySlots.unlock(header, password: Array(password.utf8)))
            #expect(found.slot == index && found.cipher.keys.data == cipher.keys.data)
        }
        #expect(try KeySlots.unlock(header, password: Array("fourth".utf8)) == nil)
        header.setKeySlot(1, KeySlot())
        try header.seal(with: cipher)
        #expect(try KeySlots.unlock(header, password: []) == nil)
        try header.seal(with: nil)
        #expect(!header.isEncrypted)
        let any = KeySlot(salt: Bytes16(low: 1))
        for _ in 0..<62 { _ = try KeySlots.add(any, to: &header) }
        #expect(throws: CodecError.noFreeSlot) { try KeySlots.add(any, to: &header) }
    }

    /// The real image opens, and its blocks have the hashes that their pointers say.
    @Test func encryptedImage() throws {
        let bytes = try GoldenImage.encrypted.bytes()
        let manifest = try GoldenImage.encrypted.manifest().header
        let place = Int(manifest.generation % 256) * 4096
        let header = try Header(decoding: bytes.rawBytes.extracting(place..<place + 4096))
        #expect(header.isEncrypted)
        #expect(try KeySlots.unlock(header, password: Array("wrong".utf8)) == nil)
        let cipher = try #require(try KeySlots.unlock(header, password: GoldenImage.password)).cipher
        for pointer in [header.tree, header.allocationLog] {
            let start = Int(pointer.address.byteOffset)
            var block = Array(bytes[start..<start + 4096])
            #expect(pointer.matches(block.rawBytes) == false)
            try block.withMutableRawBytes { (span) throws(CodecError) in
                try cipher.decrypt(&span, firstBlock: pointer.address.number)
            }
            #expect(pointer.matches(block.rawBytes) == true)
        }
        // Sealing again gives the bytes that the reference wrote.
        var again = header
        try again.seal(with: cipher)
        #expect(again == header)
    }

    @Test func errors() throws {
        #expect(throws: CodecError.self) { try BlockCipher(key1: Bytes16(low: 1), key2: Bytes16(low: 1)) }
        let cipher = try Self.cipher()
        var short = [UInt8](repeating: 0, count: 4095)
        #expect(throws: CodecError.length(4095)) {
            try short.withMutableRawBytes { (span) throws(CodecError) in try cipher.encrypt(&span, firstBlock: 0) }
        }
        #expect(throws: CodecError.length(4095)) {
            try short.withMutableRawBytes { (span) throws(CodecError) in try cipher.decrypt(&span, firstBlock: 0) }
        }
        let plain = [UInt8](repeating: 0, count: 4096)
        #expect(throws: CodecError.self) {
            try short.withMutableRawBytes { (span) throws(CodecError) in
                try cipher.encrypt(plain.rawBytes, into: &span, firstBlock: 0)
            }
        }
    }

    @Test func manyThreads() throws {
        let cipher = try Self.cipher()
        let failures = try Threads.run(8) { thread in
            for step in 0..<100 {
                let plain = noise(16384, seed: UInt64(thread * 1000 + step))
                var bytes = plain
                guard
                    (try? bytes.withMutableRawBytes({ (span) throws(CodecError) in
                        try cipher.encrypt(&span, firstBlock: UInt64(step))
                    })) != nil, bytes != plain,
                    (try? bytes.withMutableRawBytes({ (span) throws(CodecError) in
                        try cipher.decrypt(&span, firstBlock: UInt64(step))
                    })) != nil, bytes == plain
                else { return false }
            }
            return true
        }
        #expect(failures == 0)
    }
}
