// A terminal as bytes, for the memory that outlives the process: numbers first, then the cells of both screens as they are.
extension TextTerminal {
    /// The terminal as bytes.
    var encoded: [UInt8] {
        var writer = StateWriter()
        writer.put(columns)
        writer.put(rows)
        encode(cursor, &writer)
        encode(savedCursor, &writer)
        writer.put(modes.rawValue)
        writer.put(region.lowerBound)
        writer.put(region.upperBound)
        writer.put(tabStops.map { $0 ? 1 : 0 })
        writer.put(lastCharacter)
        writer.put(parser.stage.rawValue)
        writer.put(UInt32(parser.numbers.count))
        for number in parser.numbers { writer.put(number) }
        writer.put(parser.marks)
        writer.put(parser.charset)
        writer.put(parser.character)
        writer.put(parser.missingBytes)
        writer.put(parser.leastCharacter)
        writer.put(!otherCells.isEmpty)
        var bytes = writer.bytes
        let size = UInt64(bytes.count)
        // The count of what comes before the cells, at the end: found from there.
        for cells in [cells, otherCells] { unsafe cells.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) } }
        for shift in 0..<UInt64(8) { bytes.append(UInt8(truncatingIfNeeded: size >> (8 * shift))) }
        return bytes
    }

    private func encode(_ cursor: Cursor, _ writer: inout StateWriter) {
        writer.put(cursor.column)
        writer.put(cursor.row)
        writer.put(cursor.pen.foreground.rawValue)
        writer.put(cursor.pen.background.rawValue)
        writer.put(cursor.pen.style.rawValue)
        writer.put(cursor.wrapsNext)
        writer.put(cursor.usesSecondSet)
        writer.put(cursor.drawsLines[0])
        writer.put(cursor.drawsLines[1])
    }

    private static func cursor(_ reader: inout StateReader, _ columns: Int, _ rows: Int) -> Cursor? {
        var cursor = Cursor()
        cursor.column = reader.int()
        cursor.row = reader.int()
        cursor.pen = TerminalPen(
            foreground: TerminalColor(rawValue: reader.uint32()), background: TerminalColor(rawValue: reader.uint32()),
            style: TerminalPen.Style(rawValue: reader.uint32()))
        cursor.wrapsNext = reader.bool()
        cursor.usesSecondSet = reader.bool()
        cursor.drawsLines = [reader.bool(), reader.bool()]
        return (0..<columns).contains(cursor.column) && (0..<rows).contains(cursor.row) ? cursor : nil
    }

    /// From bytes; nil if they make no sense.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count > 8 else { return nil }
        var tail = StateReader(Array(bytes.suffix(8)))
        guard let headCount = Int(exactly: tail.uint64()), headCount <= bytes.count - 8 else { return nil }
        var reader = StateReader(Array(bytes.prefix(headCount)))
        let columns = reader.int()
        let rows = reader.int()
        guard (1...Self.mostColumns).contains(columns), (1...Self.mostRows).contains(rows) else { return nil }
        self.init(columns: columns, rows: rows)
        guard let cursor = Self.cursor(&reader, columns, rows), let saved = Self.cursor(&reader, columns, rows) else {
            return nil
        }
        self.cursor = cursor
        savedCursor = saved
        modes = Modes(rawValue: reader.uint32())
        let (top, bottom) = (reader.int(), reader.int())
        guard top >= 0, top < bottom, bottom <= rows else { return nil }
        region = top..<bottom
        let stops = reader.array()
        guard stops.count == columns else { return nil }
        tabStops = stops.map { $0 != 0 }
        lastCharacter = reader.uint32()
        guard let stage = TerminalParser.Stage(rawValue: reader.uint32()) else { return nil }
        parser.stage = stage
        for _ in 0..<reader.count(atMost: TerminalParser.mostNumbers) { parser.numbers.append(reader.int()) }
        parser.marks = reader.array()
        parser.charset = reader.int()
        parser.character = reader.uint32()
        parser.missingBytes = reader.int()
        parser.leastCharacter = reader.uint32()
        let hasOther = reader.bool()
        let cellBytes = columns * rows * TerminalCell.byteCount
        guard reader.isWhole, (0...1).contains(parser.charset), (0...3).contains(parser.missingBytes),
            bytes.count == headCount + cellBytes * (hasOther ? 2 : 1) + 8
        else { return nil }
        if hasOther { otherCells = cells }
        Self.copy(bytes, headCount, into: &cells)
        if hasOther { Self.copy(bytes, headCount + cellBytes, into: &otherCells) }
    }

    private static func copy(_ bytes: [UInt8], _ start: Int, into cells: inout [TerminalCell]) {
        unsafe cells.withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { source in
                unsafe target.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[start..<(start + target.count)]))
            }
        }
    }
}
