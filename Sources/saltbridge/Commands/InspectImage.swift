import ArgumentParser
import CPNG
import DiskFormat
import FileSystemCheck
import Glibc
import ImageTools
import Platform

struct InspectImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Print a structure of an image, say what owns a block, measure and draw how space is used.",
        discussion: """
            Without options: the header, or the node at PATH. A map shows free space, metadata, data by age (counted from the \
            last change in the image) and leaked blocks; --highlight makes one file stand out.
            """)

    @OptionGroup var image: ImageOptions

    @Argument(help: "Print the node at this path.")
    var path: String?

    @Option(help: "Print this node.")
    var node: UInt32?

    @Option(help: "Print this block and what owns it, through which pointers.")
    var block: UInt64?

    @Flag(help: "Print the header and the state of the ring.")
    var header = false

    @Flag(help: "Print the allocation log.")
    var log = false

    @Flag(help: "Print the tree of nodes.")
    var tree = false

    @Flag(help: "Print space by kind, compression and fragmentation.")
    var usage = false

    @Option(help: ArgumentHelp("Draw the disk into FILE, .svg or .png.", valueName: "file"), completion: .file())
    var map: String?

    @Option(help: "The path of a file to stand out in the map.")
    var highlight: String?

    @Option(help: "Cells in a row of the map.")
    var width = 256

    @Option(help: "Look at this older generation (see history).")
    var generation: UInt64?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        let asked = [path != nil, node != nil, block != nil, header, log, tree, usage, map != nil].filter { $0 }.count
        if asked > 1 { throw ValidationError("one thing at a time: PATH, --node, --block, --header, --log, ...") }
        if highlight != nil, map == nil { throw ValidationError("--highlight needs --map") }
        if let map, !map.hasSuffix(".svg"), !map.hasSuffix(".png") {
            throw ValidationError("the map's file must end in .svg or .png")
        }
        if !(16...4096).contains(width) { throw ValidationError("--width must be 16 to 4096") }
    }

    func run() throws {
        let image = try image.locate(writable: false, locking: .none)
        let progress = CheckProgressLine("inspecting")
        defer { progress.finish() }
        // Headers aren't encrypted.
        let needsKey = path != nil || node != nil || block != nil || log || tree || usage || map != nil
        let options = CheckOptions(
            generation: generation.map { Generation($0) },
            password: needsKey ? try self.image.password.password(for: image) : nil, progress: { progress.show($0) })
        do throws(CheckError) {
            let inspector = try Inspector(image.device, options, unlocks: needsKey)
            if let map {
                let highlighted = try highlight.map { path throws(CheckError) in try inspector.node(at: path) }
                let drawn = inspector.map(width: width, maximumRows: width, highlight: highlighted)
                do throws(ToolFailure) {
                    try MapFile.write(drawn, to: map)
                } catch {
                    throw CheckError.unreadable("\(error)")
                }
                progress.finish()
                if output.json { Console.print(MapFile.json(drawn, map)) }
                return
            }
            let value = try printed(inspector)
            progress.finish()
            Console.print(output.json ? value.json : value.text)
        } catch {
            throw ToolFailure("\(image.name): \(error)")
        }
    }

    private func printed(_ inspector: Inspector) throws(CheckError) -> PrintedValue {
        if let path { return try inspector.printedNode(try inspector.node(at: path)) }
        if let node { return try inspector.printedNode(node) }
        if let block { return try inspector.printedBlock(block) }
        if log { return try inspector.printedLog() }
        if tree { return inspector.printedTree() }
        if usage { return inspector.usage().printed }
        return inspector.printedHeader()
    }
}

/// Writes maps into files.
enum MapFile {
    /// Pixels of a cell's side in a PNG.
    private static let cellSize = 4

    /// What was drawn: where, and how many cells of each kind.
    static func json(_ map: DiskMap, _ path: String) -> JSONValue {
        let kinds = DiskMap.Cell.allCases.filter { $0 != .outside }
        let counts = kinds.map { kind in
            ("\(kind)", JSONValue.integer(Int64(map.cells.count { $0 == kind })))
        }
        return .object([
            ("file", .string(path)), ("width", .integer(Int64(map.width))), ("height", .integer(Int64(map.height))),
            ("blocks_per_cell", .unsigned(map.blocksPerCell)), ("cells", .object(counts)),
        ])
    }

    static func write(_ map: DiskMap, to path: String) throws(ToolFailure) {
        if path.hasSuffix(".png") {
            try writePNG(map, to: path)
            return
        }
        do {
            let file = try SystemCall.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o666)
            try SystemCall.writeAll(file.rawValue, Array(map.svg.utf8).rawBytes)
        } catch {
            throw ToolFailure("cannot write \(path): \(error)")
        }
    }

    /// Eight bits a channel, no transparency, through libpng's simplified interface (png.h, section 5).
    private static func writePNG(_ map: DiskMap, to path: String) throws(ToolFailure) {
        let pixels = map.pixels(cellSize: cellSize)
        var image = unsafe png_image()
        unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
        unsafe image.width = png_uint_32(pixels.width)
        unsafe image.height = png_uint_32(pixels.height)
        unsafe image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
        let isWritten = unsafe pixels.bytes.withUnsafeBytes { bytes in
            unsafe png_image_write_to_file(&image, path, 0, bytes.baseAddress, 0, nil)
        }
        unsafe png_image_free(&image)
        if isWritten == 0 { throw ToolFailure("cannot write \(path)") }
    }
}
