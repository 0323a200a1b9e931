import ArgumentParser
import ImageTools
import Platform
import RedoxFS

struct PrintFiles: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cat", abstract: "Print the content of files in an image, or of a scheme of a running mount.",
        discussion: "In place of IMAGE and FILES, /scheme/NAME/PATH are files of a running mount.")

    @OptionGroup var image: ImageOptions

    @Argument(help: "The files.", completion: SchemeCompletion.imagesAndSchemes)
    var paths: [String] = []

    @OptionGroup var generation: GenerationOptions

    @OptionGroup var mount: MountSelection

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if paths.isEmpty, SchemePath(image.image) == nil { throw ValidationError("Name a file in the image.") }
    }

    func run() throws {
        if SchemePath(image.image) != nil {
            try printSchemes(SchemeFiles(mount: try mount.select()))
            return
        }
        try image.read(generation) { try printAll($0.volume) }
    }

    private func printSchemes(_ files: SchemeFiles) throws {
        for path in [image.image] + paths {
            guard let scheme = SchemePath(path) else { throw ToolFailure("\(path) is no path of a scheme") }
            if output.json {
                var content: [UInt8] = []
                try files.copy(scheme) { (bytes) throws(ToolFailure) in content += bytes }
                Console.print(Self.row(path, content))
            } else {
                // At once: it may be a stream that somebody follows.
                try files.copy(scheme) { (bytes) throws(ToolFailure) in
                    Console.write(bytes)
                    try Console.flush()
                }
            }
        }
    }

    private static func row(_ path: String, _ content: [UInt8]) -> JSONValue {
        let text = String(validating: content, as: UTF8.self)
        return .object([
            ("path", .string(path)), ("size", .unsigned(UInt64(content.count))),
            ("encoding", .string(text == nil ? "base64" : "utf-8")),
            ("content", .string(text ?? Base64.encode(content))),
        ])
    }

    private func printAll(_ volume: ImageVolume) throws {
        for path in paths {
            let attributes = try volume.resolve(path)
            guard attributes.kind == .file else {
                throw ToolFailure("\(path) in \(volume.name) is not a regular file")
            }
            if output.json {
                var content: [UInt8] = []
                try read(volume, attributes, path) { content += $0 }
                Console.print(Self.row(path, content))
            } else {
                try read(volume, attributes, path) { Console.write($0) }
                try Console.flush()
            }
        }
    }

    private func read(
        _ volume: ImageVolume, _ attributes: Attributes, _ path: String, _ body: ([UInt8]) -> Void
    ) throws(ToolFailure) {
        let buffer = AlignedBuffer(byteCount: 1 << 20)
        var offset: UInt64 = 0
        while offset < attributes.size {
            do throws(FileSystemError) {
                var bytes = buffer.mutableBytes
                let count = try volume.fileSystem.read(attributes.node, at: offset, into: &bytes)
                if count == 0 { return }
                body(unsafe buffer.bytes(0..<count).withUnsafeBytes { unsafe Array($0) })
                offset += UInt64(count)
            } catch {
                throw .fileSystem(error, "read", "\(path) at byte \(offset)")
            }
        }
    }
}

/// Base64 of RFC 4648.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for (index, byte) in group.enumerated() { bits |= UInt32(byte) << UInt32(16 - index * 8) }
            for index in 0..<4 {
                let isFilled = index <= group.count
                result.append(isFilled ? alphabet[Int((bits >> UInt32(18 - index * 6)) & 63)] : 0x3D)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
