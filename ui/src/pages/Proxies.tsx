export function Proxies() {
  return <main><h1>Proxies</h1></main>;
}
