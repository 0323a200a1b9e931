import Glibc
import ImageTools
import Platform

/// Shows on a terminal (standard error) how far a long command is, if it takes over a second: ten times a second.
final class Progress: CopyObserver {
    private let label: String
    private let isShown: Bool
    private let start = Clock.monotonicNanoseconds()
    private var last: UInt64 = 0
    private var isVisible = false

    /// - Parameter label: what is being done: "exporting".
    init(_ label: String) {
        self.label = label
        isShown = SystemCall.isTerminal(STDERR_FILENO) && !Console.printsJSON
    }

    /// A bar, of things that can be counted. With total 0 only what is done is shown.
    func update(done: UInt64, total: UInt64, _ detail: String = "") {
        guard isDue() else { return }
        if total == 0 {
            show("\(label): \(done) \(detail)")
            return
        }
        let width: UInt64 = 30
        let part = min(done, total)
        let filled = Int((part / max(total / width, 1)))
        let bar = String(repeating: "#", count: min(filled, 30)) + String(repeating: "-", count: max(0, 30 - filled))
        let (hundredfold, overflow) = part.multipliedReportingOverflow(by: 100)
        let percent = overflow ? part / (total / 100) : hundredfold / total
        show("\(label): [\(bar)] \(percent)% \(detail)")
    }

    func copying(_ path: [UInt8], _ summary: CopySummary) {
        guard isDue() else { return }
        show(
            "\(label): \(summary.entries) \(summary.entries == 1 ? "entry" : "entries"), \(ByteCount.display(summary.bytes)): "
                + ToolFailure.display(path))
    }

    func warning(_ message: String) {
        finish()
        Console.warn(message)
    }

    /// Removes the line.
    func finish() {
        guard isVisible else { return }
        isVisible = false
        write("\r\u{1B}[K")
    }

    private func isDue() -> Bool {
        guard isShown else { return false }
        let now = Clock.monotonicNanoseconds()
        guard now - start >= 1_000_000_000, now - last >= 100_000_000 else { return false }
        last = now
        return true
    }

    private func show(_ line: String) {
        isVisible = true
        write("\r\u{1B}[K" + String(line.prefix(Self.columns() - 1)))
    }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        try? unsafe SystemCall.writeAll(STDERR_FILENO, bytes.span.bytes)
    }

    private static func columns() -> Int {
        var size = winsize()
        let isKnown = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20
        return isKnown ? Int(size.ws_col) : 80
    }
}
