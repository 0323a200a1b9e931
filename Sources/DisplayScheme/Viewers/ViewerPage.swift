/// The page that shows a display in a browser: a viewer of its own over a web socket, in one file.
enum ViewerPage {
    static let html = """
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <title>Saltbridge display</title>
        <style>
        body { margin: 0; background: #1c1e22; color: #d0d0d0; font: 14px sans-serif; }
        canvas { display: block; margin: 0 auto; outline: none; cursor: default; }
        p { margin: 6px; text-align: center; height: 1.5em; }
        p:empty { display: none; }
        </style>
        <p id="state"></p>
        <canvas id="screen" tabindex="0"></canvas>
        <script>
        "use strict";
        const canvas = document.getElementById("screen"), context = canvas.getContext("2d");
        const state = document.getElementById("state");
        let socket, input, step, need, password = decodeURIComponent(location.hash.slice(1)), updates = 0;

        function connect() {
          state.textContent = "connecting";
          socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, ""), "binary");
          socket.binaryType = "arraybuffer";
          input = new Uint8Array(0);
          step = version; need = 12;
          socket.onmessage = event => take(new Uint8Array(event.data));
          socket.onclose = () => { state.textContent = "not connected"; setTimeout(connect, 500); };
        }
        function take(bytes) {
          const all = new Uint8Array(input.length + bytes.length);
          all.set(input); all.set(bytes, input.length); input = all;
          while (input.length >= need) {
            const part = input.slice(0, need);
            input = input.slice(need);
            step(part);
          }
        }
        const number16 = (bytes, at) => bytes[at] << 8 | bytes[at + 1];
        const number32 = (bytes, at) => number16(bytes, at) * 65536 + number16(bytes, at + 2);
        const send = (...bytes) => socket.readyState === 1 && socket.send(new Uint8Array(bytes));
        const then = (count, next) => { need = count; step = next; };
        function version() { socket.send(new TextEncoder().encode("RFB 003.008\\n")); then(1, types); }
        function types(bytes) { then(bytes[0], list => {
          if (list.includes(1)) { send(1); then(4, result); return; }
          if (!list.includes(2)) { state.textContent = "no way to connect that this page knows"; return; }
          send(2); then(16, challenge => ask(password).then(word => {
            password = word; socket.send(answer(challenge, word)); then(4, result);
          }));
        }); }
        function result(bytes) {
          if (number32(bytes, 0) !== 0) { password = ""; socket.close(); return; }
          send(1); then(24, start);
        }
        function ask(known) {
          if (known) return Promise.resolve(known);
          return new Promise(resolve => {
            const field = document.createElement("input");
            field.type = "password"; field.placeholder = "password";
            field.onkeydown = event => { event.stopPropagation(); if (event.key === "Enter") { state.textContent = ""; resolve(field.value); } };
            field.onkeyup = event => event.stopPropagation();
            state.replaceChildren(field); field.focus();
          });
        }
        // What a viewer with the password says to a challenge: DES (FIPS 46-3), each byte of the key with its bits reversed.
        const table = text => [...text].map(letter => "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/".indexOf(letter));
        const first = table("VNFxph91XPHzrjb3ZRJBtld5/TLDvnf7UMEwog80WOGyqia2YQIAskc4+SKCume6");
        const last = table("D7LfTn/vC6KeSm+uB5JdRlZtA4IcQkYsz3HbPjXry2GaOiWqx1F9NhVpw0E8MgUo");
        const expansion = table("v01234345678789abcbcdefgfghijkjklmnonopqrsrstuv0");
        const mix = table("f6jksbrg0emp4hu917ndvq28ict5la3o");
        const choice1 = table("UMEwog80VNFxph91WOGyqia2XPHz+SKCume6ZRJBtld5YQIAskc4rjb3");
        const choice2 = table("dgan042re5k9mib3p7f6qjc1EPuAKStDOIwLHMCTxQJFNzsv");
        const boxes = [
          "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
          "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
          "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
          "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
          "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
          "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
          "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
          "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
        ].map(table);
        const permute = (bits, places) => places.map(place => bits[place]);
        const bits = bytes => bytes.flatMap(byte => [7, 6, 5, 4, 3, 2, 1, 0].map(shift => byte >> shift & 1));
        function encrypt(block, key) {
          let left = permute(bits(block), first), right = left.splice(32), halves = permute(bits(key), choice1);
          for (const shift of [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]) {
            let c = halves.slice(0, 28), d = halves.slice(28);
            halves = [...c.slice(shift), ...c.slice(0, shift), ...d.slice(shift), ...d.slice(0, shift)];
            const round = permute(halves, choice2), wide = permute(right, expansion).map((bit, index) => bit ^ round[index]);
            const narrow = boxes.flatMap((box, index) => {
              const six = wide.slice(6 * index, 6 * index + 6);
              const value = box[(six[0] * 2 + six[5]) * 16 + six[1] * 8 + six[2] * 4 + six[3] * 2 + six[4]];
              return [value >> 3 & 1, value >> 2 & 1, value >> 1 & 1, value & 1];
            });
            [left, right] = [right, permute(narrow, mix).map((bit, index) => bit ^ left[index])];
          }
          const result = permute([...right, ...left], last);
          return [0, 1, 2, 3, 4, 5, 6, 7].map(index => result.slice(8 * index, 8 * index + 8).reduce((sum, bit) => sum * 2 + bit));
        }
        function answer(challenge, word) {
          const text = [...new TextEncoder().encode(word), 0, 0, 0, 0, 0, 0, 0, 0].slice(0, 8);
          const key = text.map(byte => [0, 1, 2, 3, 4, 5, 6, 7].reduce((sum, shift) => sum | (byte >> shift & 1) << 7 - shift, 0));
          const whole = [...challenge];
          return new Uint8Array([...encrypt(whole.slice(0, 8), key), ...encrypt(whole.slice(8), key)]);
        }
        function start(bytes) {
          resize(number16(bytes, 0), number16(bytes, 2));
          then(number32(bytes, 20), name => {
            document.title = new TextDecoder().decode(name);
            send(2, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 33);
            want(0); then(1, message); state.textContent = "";
          });
        }
        function resize(width, height) { canvas.width = width; canvas.height = height; }
        function want(incremental) {
          const { width, height } = canvas;
          send(3, incremental, 0, 0, 0, 0, width >> 8, width & 255, height >> 8, height & 255);
        }
        function message(bytes) {
          if (bytes[0] === 0) then(3, head => rectangles(number16(head, 1)));
          else if (bytes[0] === 3) then(7, head => then(number32(head, 3), text => { copied(text); then(1, message); }));
          else then(1, message);
        }
        function rectangles(count) {
          if (count === 0) { canvas.dataset.updates = ++updates; want(1); then(1, message); return; }
          then(12, head => {
            const x = number16(head, 0), y = number16(head, 2), width = number16(head, 4), height = number16(head, 6);
            if (number32(head, 8) > 0x7fffffff) { resize(width, height); want(0); then(1, message); return; }
            then(width * height * 4, pixels => {
              const image = context.createImageData(width, height), target = image.data;
              for (let index = 0; index < pixels.length; index += 4) {
                target[index] = pixels[index + 2]; target[index + 1] = pixels[index + 1];
                target[index + 2] = pixels[index]; target[index + 3] = 255;
              }
              context.putImageData(image, x, y);
              rectangles(count - 1);
            });
          });
        }
        // The clipboards: a browser gives its own only to a page that is in front, and from a paste.
        function copied(bytes) {
          canvas.dataset.clipboard = [...bytes].map(byte => String.fromCharCode(byte)).join("");
          navigator.clipboard?.writeText(canvas.dataset.clipboard).catch(() => {});
        }
        addEventListener("paste", event => {
          const text = [...event.clipboardData.getData("text")].map(letter => letter.codePointAt(0));
          const head = [6, 0, 0, 0, ...[24, 16, 8, 0].map(shift => text.length >> shift & 255)];
          socket.send(new Uint8Array([...head, ...text.map(code => code < 256 ? code : 63)]));
          for (const press of [1, 0]) send(4, press, 0, 0, 0, 0, 0, 118);
          event.preventDefault();
        });
        const named = { Backspace: 0xff08, Tab: 0xff09, Enter: 0xff0d, Escape: 0xff1b, Home: 0xff50, ArrowLeft: 0xff51,
          ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54, PageUp: 0xff55, PageDown: 0xff56, End: 0xff57,
          Insert: 0xff63, Delete: 0xffff, Shift: 0xffe1, Control: 0xffe3, Alt: 0xffe9, Meta: 0xffeb };
        function key(event) {
          let symbol = named[event.key];
          if (/^F[0-9]+$/.test(event.key)) symbol = 0xffbd + Number(event.key.slice(1));
          if (!symbol && [...event.key].length === 1) {
            const code = event.key.codePointAt(0);
            symbol = code < 256 ? code : 0x1000000 + code;
          }
          // What is pasted comes first, then the key: see above.
          if (!symbol || (event.ctrlKey || event.metaKey) && event.key === "v") return;
          send(4, event.type === "keydown" ? 1 : 0, 0, 0, symbol >>> 24, symbol >> 16 & 255, symbol >> 8 & 255, symbol & 255);
          event.preventDefault();
        }
        let mask = 0;
        function pointer(event, extra) {
          const box = canvas.getBoundingClientRect();
          const x = Math.max(0, Math.round(event.clientX - box.left)), y = Math.max(0, Math.round(event.clientY - box.top));
          mask = event.buttons & 1 | (event.buttons & 4) >> 1 | (event.buttons & 2) << 1;
          for (const bits of extra ? [mask | extra, mask] : [mask]) send(5, bits, x >> 8, x & 255, y >> 8, y & 255);
        }
        addEventListener("keydown", key);
        addEventListener("keyup", key);
        for (const kind of ["mousemove", "mousedown", "mouseup"]) canvas.addEventListener(kind, event => pointer(event));
        canvas.addEventListener("wheel", event => { pointer(event, event.deltaY < 0 ? 8 : 16); event.preventDefault(); });
        canvas.addEventListener("contextmenu", event => event.preventDefault());
        connect();
        </script>
        </html>

        """
}
