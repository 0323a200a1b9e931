import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@Suite struct Inspection {
    private func inspector(_ image: GoldenImage) throws -> Inspector {
        try Inspector(try Surgeon.original(image), CheckOptions(password: image.password))
    }

    @Test(arguments: GoldenImage.allCases)
    func usageAddsUpToTheDisk(_ image: GoldenImage) throws {
        let usage = try inspector(image).usage()
        let report = try FileSystemCheck.check(Surgeon.original(image), CheckOptions(password: image.password))
        #expect(!usage.isIncomplete)
        #expect(usage.byUse.values.reduce(0, +) == usage.blocks)
        #expect(usage.byUse[.free] ?? 0 == report.free)
        #expect(usage.byUse[.leaked] ?? 0 == report.leaked)
        #expect(usage.nodes.values.reduce(0, +) == report.nodes)
        #expect(usage.compressionRatio >= 1)
    }

    @Test func everyUsedBlockHasOneOwner() throws {
        let inspector = try inspector(.truncateResidue)
        let report = try FileSystemCheck.check(Surgeon.original(.truncateResidue))
        for block in stride(from: UInt64(257), to: report.blockCount, by: 5) {
            let printed = try inspector.printedBlock(block)
            guard let owners = printed["owners"] else {
                #expect(["free", "leaked: neither in use nor free"].contains(printed["use"]?.text))
                continue
            }
            guard case .list(let chains) = owners, case .list(let chain) = chains[0] else {
                Issue.record("block \(block) has no chain")
                continue
            }
            #expect(chains.count == 1)
            #expect(chain.count >= 2)
            #expect(chain[0].text == "header of generation \(report.generation)")
        }
    }

    @Test func pathsLeadToTheNodesOfTheManifest() throws {
        let inspector = try inspector(.smallTree)
        for entry in try GoldenImage.smallTree.manifest().entries {
            let node = try inspector.node(at: entry.path)
            #expect(node == entry.node)
            let printed = try inspector.printedNode(node)
            #expect(printed["size"] == .unsigned(entry.size))
            #expect(printed["mode"] == .text(entry.mode))
            #expect(printed["uid"] == .unsigned(UInt64(entry.uid)))
            #expect(printed["blocks"] == .unsigned(entry.blocks))
        }
        #expect(throws: CheckError.self) { try inspector.node(at: "/nowhere") }
        #expect(throws: CheckError.self) { try inspector.node(at: "/attrs/mode0644/below") }
    }

    @Test func headerLogAndTreePrint() throws {
        let inspector = try inspector(.encrypted)
        let header = inspector.printedHeader()
        #expect(header["generation"] == .unsigned(340))
        #expect(header["encrypted"] == true)
        #expect(header["uuid"] == "b60ca39d-3f36-462b-a66b-14a8a67a5eeb")
        #expect(try inspector.printedLog()["blocks"] == .number(1))
        #expect(inspector.printedTree()["nodes"] == .number(131))
        #expect(inspector.printedTree().json.hasPrefix("{\"top\":{\"block\":"))
        #expect(header.text.hasPrefix("block: 84\n"))
    }

    @Test func headersNeedNoPassword() throws {
        let device = try Surgeon.original(.encrypted)
        #expect(throws: CheckError.self) { _ = try Inspector(device) }
        #expect(try Inspector(device, unlocks: false).printedHeader()["generation"] == .unsigned(340))
    }

    @Test func ringBlocksAreExplained() throws {
        let inspector = try inspector(.empty)
        #expect(try inspector.printedBlock(3)["use"]?.text == "header ring: header of generation 3")
        #expect(try inspector.printedBlock(100)["use"]?.text == "header ring: never written")
        #expect(try inspector.printedBlock(256)["use"]?.text == "never used by the format")
        #expect(throws: CheckError.self) { try inspector.printedBlock(1 << 50) }
    }

    @Test func mapShowsEveryKind() throws {
        let inspector = try inspector(.churn)
        let map = inspector.map(width: 128, maximumRows: 128)
        #expect(map.blocksPerCell == 1)
        #expect(map.cells.count == map.width * map.height)
        let report = try FileSystemCheck.check(Surgeon.original(.churn))
        #expect(map.cells.filter { $0 == .free }.count == Int(report.free))
        #expect(map.cells.filter { $0 == .leaked }.count == Int(report.leaked))
        #expect(map.cells.filter { $0 == .ring }.count == 257)
        #expect(map.svg.hasPrefix("<svg ") && map.svg.hasSuffix("</svg>\n"))
        #expect(map.svg.contains("leaked"))
        let pixels = map.pixels(cellSize: 2)
        #expect(pixels.bytes.count == pixels.width * pixels.height * 3)
        // The legend: each color that occurs in the map occurs below it, in a picture that may be wider than the map.
        for (map, cellSize) in [(map, 4), (inspector.map(width: 16, maximumRows: 200), 2)] {
            let picture = map.pixels(cellSize: cellSize)
            #expect(picture.width >= 200 && picture.bytes.count == picture.width * picture.height * 3)
            var below = Set<[UInt8]>()
            for place in stride(from: map.height * cellSize * picture.width * 3, to: picture.bytes.count, by: 3) {
                below.insert(Array(picture.bytes[place..<place + 3]))
            }
            let shown = Set(map.cells).subtracting([.outside])
            let colors = shown.map { [$0.color.red, $0.color.green, $0.color.blue] }
            #expect(below == Set(colors + [[0, 0, 0], [255, 255, 255]]))
            for cell in shown { #expect(map.svg.contains(">\(cell.title)</text>")) }
        }
        let coarse = inspector.map(width: 16, maximumRows: 4)
        #expect(coarse.cells.count == 64)
        #expect(coarse.blocksPerCell == 128)
    }

    /// Colors that could be taken for each other say nothing.
    @Test func colorsAreDistinct() {
        func distance(_ a: DiskMap.Cell, _ b: DiskMap.Cell) -> Int {
            abs(Int(a.color.red) - Int(b.color.red)) + abs(Int(a.color.green) - Int(b.color.green))
                + abs(Int(a.color.blue) - Int(b.color.blue))
        }
        let cells = DiskMap.Cell.allCases.filter { $0 != .outside }
        for (index, cell) in cells.enumerated() {
            for other in cells.dropFirst(index + 1) {
                #expect(distance(cell, other) >= 75, "\(cell.title) and \(other.title)")
            }
        }
    }

    @Test func highlightedFileStandsOut() throws {
        let inspector = try inspector(.smallTree)
        let node = try inspector.node(at: "/sizes/r1048583")
        let map = inspector.map(width: 64, maximumRows: 64, highlight: node)
        // All its blocks, and not the node itself: that is metadata of the tree.
        #expect(map.cells.filter { $0 == .highlight }.count == 258)
        // Nothing else is drawn as strong.
        #expect(map.svg.contains("#000000") && !map.svg.contains("#7c4dbe"))
    }

    @Test func textAndJSONOfValues() {
        let value = PrintedValue.fields([
            .init("name", "a\"b\n"), .init("list", .list([.number(-1), .flag(false)])), .init("nothing", .none),
            .init("inner", .fields([.init("x", .unsigned(7))])), .init("place", .described("at 5", .unsigned(5))),
        ])
        #expect(value.json == #"{"name":"a\"b\n","list":[-1,false],"nothing":null,"inner":{"x":7},"place":5}"#)
        #expect(value.text == "name: a\"b\n\nlist:\n  -1\n  no\nnothing: none\ninner:\n  x: 7\nplace: at 5")
    }
}

extension PrintedValue {
    /// The value of a field.
    fileprivate subscript(name: String) -> PrintedValue? {
        guard case .fields(let fields) = self else { return nil }
        return fields.first { $0.name == name }?.value
    }
}
