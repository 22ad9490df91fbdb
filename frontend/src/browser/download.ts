// Offers a generated file for download.

export function download(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser reads the URL after the click. A minute is enough.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
