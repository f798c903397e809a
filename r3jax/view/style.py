"""The look of every page: one style sheet, light or dark as the reader's system asks."""

CSS = """
:root{color-scheme:light dark;--paper:#fcfcfa;--card:#fff;--ink:#1b1d21;--muted:#696e76;
--line:#e3e3de;--soft:#f3f3ef;--accent:#1f5fa6;--right:#1a7f4b;--wrong:#b3361e;--unsure:#8a6d00;
--s0:#1f5fa6;--s1:#d55e00;--s2:#1a8f66;--s3:#b3478c;--s4:#b07c00;--s5:#6b5bb5}
@media(prefers-color-scheme:dark){:root{--paper:#131518;--card:#1a1d21;--ink:#e7e8ea;
--muted:#989ea8;--line:#2c3037;--soft:#22262b;--accent:#79b2f2;--right:#56c48b;--wrong:#f0866f;
--unsure:#d9b643;--s0:#79b2f2;--s1:#ff9a52;--s2:#5fcfa2;--s3:#e38fc3;--s4:#e0b84d;--s5:#ab9ef0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:40px 24px 80px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.015em;text-wrap:balance}
h2{font-size:1.25rem;margin:3rem 0 1rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.8rem 0 .7rem;color:var(--muted);font-weight:600}
p{margin:.4rem 0}.lead{color:var(--muted);max-width:46rem}
.num,td,.chip{font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.94rem}
th,td{padding:.6rem .9rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{color:var(--muted);font-weight:600;font-size:.84rem}
tbody th{font-weight:600}
.ci{color:var(--muted);font-size:.82rem;margin-left:.45rem}
.bar{position:relative;height:5px;border-radius:3px;background:var(--soft);margin-top:.35rem;
min-width:120px}
.bar i{position:absolute;top:0;bottom:0;left:0;border-radius:3px;background:var(--accent)}
.bar b{position:absolute;top:-2px;height:9px;border:solid var(--ink);border-width:0 1.5px;
opacity:.6;background:linear-gradient(var(--ink),var(--ink)) center/100% 1.5px no-repeat}
.plots{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}
.plot{margin:0;border:1px solid var(--line);border-radius:10px;background:var(--card);
padding:14px 14px 8px}
.plot figcaption{font-weight:600;font-size:.92rem;display:flex;flex-wrap:wrap;gap:.2rem .9rem}
.plot .key{font-weight:400;color:var(--muted);font-size:.82rem;white-space:nowrap}
.plot .key i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:.35rem;
vertical-align:middle}
.plot svg{display:block;width:100%;height:auto;margin-top:6px;overflow:visible}
.plot text{font:11px system-ui,"Liberation Sans",sans-serif;fill:var(--muted)}
.grid{stroke:var(--line);stroke-width:1}
.curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.faint{opacity:.28;stroke-width:1}
.trace{border:1px solid var(--line);border-radius:12px;background:var(--card);padding:20px;
margin:0 0 20px}
.trace>header{display:flex;flex-wrap:wrap;gap:.4rem .8rem;align-items:baseline;
justify-content:space-between;margin-bottom:14px}
.trace h3{margin:0;color:var(--ink);font-size:1.06rem;flex:1 1 18rem;overflow-wrap:anywhere}
.chips{display:flex;flex-wrap:wrap;gap:.35rem}
.chip{font-size:.8rem;padding:.08rem .55rem;border-radius:99px;background:var(--soft);
color:var(--muted);max-width:100%;overflow-wrap:anywhere}
.chip.right{color:var(--right)}.chip.wrong{color:var(--wrong)}.chip.unknown{color:var(--unsure)}
.chip.right,.chip.wrong,.chip.unknown{font-weight:600}
.columns{display:grid;gap:22px;grid-template-columns:minmax(0,5fr) minmax(0,6fr)}
.stage{position:relative;border-radius:8px;overflow:hidden;background:var(--soft)}
.stage img{display:block;width:100%;height:auto}
.stage .box{position:absolute;border:2.5px solid var(--c);border-radius:3px;
box-shadow:0 0 0 1px #fff9}
.tag{display:inline-block;min-width:1.35rem;padding:0 .3rem;border-radius:5px;background:var(--c);
color:#fff;font:600 .78rem/1.35rem system-ui,"Liberation Sans",sans-serif;text-align:center}
.stage .tag{position:absolute;transform:translate(-2px,-2px)}
.small{color:var(--muted);font-size:.83rem}
.words{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.96rem;line-height:1.72}
.words span[title]{border-bottom:2px solid color-mix(in srgb,var(--s1) var(--doubt),transparent)}
.words span[title]:hover{background:var(--soft)}
.forced{color:var(--muted);font-style:italic;background:var(--soft);border-radius:4px}
.look{display:flex;gap:12px;align-items:flex-start;margin:10px 0;padding:10px;border-radius:8px;
background:var(--soft);border-left:4px solid var(--c);white-space:normal;line-height:1.45}
.look img{display:block;max-width:62%;max-height:240px;border-radius:5px;min-width:56px}
.look.failed{background:none;border:1px dashed var(--line);border-left:4px solid var(--c)}
.terms{display:flex;flex-wrap:wrap;gap:8px 22px;margin-top:16px;padding-top:14px;
border-top:1px solid var(--line);font-size:.9rem}
.terms b{font-weight:600;margin-left:.4rem}.terms .total{margin-left:auto}
details{border:1px solid var(--line);border-radius:10px;background:var(--card);
padding:.7rem 1rem;margin:16px 0}
summary{cursor:pointer;font-weight:600}
details .plots{margin-top:14px}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.25rem 1.2rem;
font-size:.9rem;margin:.8rem 0 .2rem}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin-bottom:14px}
.legend .words{font-size:inherit;line-height:inherit}
@media(max-width:760px){main{padding:24px 14px 60px}.columns{grid-template-columns:1fr}
.trace{padding:14px}h1{font-size:1.5rem}.terms .total{margin-left:0}
dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
"""
