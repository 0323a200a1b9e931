import Glibc

// Writes whole frames to files of that size, in turns: by pwrite(2), and through a shared mapping with msync(2). The
// first file is a display's `fb`, the others are what it is compared with.
//
//     bench-display FRAMEBYTES FRAMES FILE...
//     bench-display FRAMEBYTES FRAMES --viewer SOCKET FB     how soon a viewer has what was written

struct Failure: Error { let text: String }

func seconds(_ body: () throws -> Void) rethrows -> Double {
    var start = timespec()
    var end = timespec()
    clock_gettime(CLOCK_MONOTONIC, &start)
    try body()
    clock_gettime(CLOCK_MONOTONIC, &end)
    return Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) / 1e9
}

func check(_ isDone: Bool, _ what: String) throws {
    if !isDone { throw Failure(text: "\(what): \(String(cString: strerror(errno)))") }
}

/// Each frame differs from the one before, so that nobody can leave out a part.
func fill(_ memory: UnsafeMutableRawPointer, _ byteCount: Int, _ frame: Int) {
    memset(memory, Int32(truncatingIfNeeded: frame & 0xff), byteCount)
}

func positioned(_ path: String, _ byteCount: Int, _ frames: Int) throws -> Double {
    let file = open(path, O_RDWR | O_CREAT, 0o600)
    try check(file >= 0, path)
    defer { close(file) }
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
    defer { buffer.deallocate() }
    return try seconds {
        for frame in 0..<frames {
            fill(buffer, byteCount, frame)
            var done = 0
            while done < byteCount {
                let count = pwrite(file, buffer + done, byteCount - done, off_t(done))
                try check(count > 0, path)
                done += count
            }
        }
    }
}

func mapped(_ path: String, _ byteCount: Int, _ frames: Int) throws -> Double {
    let file = open(path, O_RDWR)
    try check(file >= 0, path)
    defer { close(file) }
    let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    try check(memory != MAP_FAILED, path)
    guard let memory else { throw Failure(text: path) }
    defer { munmap(memory, byteCount) }
    return try seconds {
        for frame in 0..<frames {
            fill(memory, byteCount, frame)
            try check(msync(memory, byteCount, MS_SYNC) == 0, path)
        }
    }
}

@main
struct DisplayBenchmark {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 4, let byteCount = Int(arguments[1]), byteCount > 0, let frames = Int(arguments[2]),
            frames > 0
        else {
            print("usage: bench-display FRAMEBYTES FRAMES FILE...")
            exit(64)
        }
        do {
            let files = arguments.dropFirst(3)
            if arguments[3] == "--viewer" {
                guard arguments.count == 6 else { throw Failure(text: "--viewer SOCKET FB") }
                try measureViewer(arguments[4], arguments[5], byteCount, frames)
                return
            }
            for round in 1...3 {
                for (name, write) in [("pwrite", positioned), ("mmap", mapped)] {
                    for file in files {
                        let time = try write(file, byteCount, frames)
                        let rate = Int((Double(frames) / time).rounded())
                        print("round \(round)  \(name)  \(rate) frames/s  \(file)")
                    }
                }
            }
        } catch {
            print("\(error)")
            exit(1)
        }
    }
}
