"""The report page as a Jinja template: a module, not a data file, so that the pipeline sees its edits and a package carries it.

Its style is in `report_style`; the script of the 3D view is the file viewer.js, so that it can be read and checked as what it is.
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'{% if script_hash %}; script-src '{{ script_hash }}'{% endif %}">
<title>{{ content.title }}</title>
<style>
{{ style }}</style>
</head>
<body>
{% macro facts(rows) %}
<div class="scroll"><table class="facts"><tbody>
{% for name, value in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro picture(figure) %}
<figure>
<div class="scroll" tabindex="0" role="region" aria-label="{{ figure.alternative }}"><img src="{{ figure.source }}" alt="{{ figure.alternative }}"
  width="{{ figure.size[0] }}" height="{{ figure.size[1] }}" style="--width: {{ figure.size[0] }}px" decoding="async"></div>
<figcaption>{{ figure.caption }}</figcaption>
</figure>
{% endmacro %}
{% macro score_table(table) %}
<h3>{{ table.title }}</h3>
{% if table.note or table.intervals %}<p class="note">{{ [table.note, table.intervals] | select | join(" ") | with_code }}</p>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}"><table>
<thead><tr><th scope="col">{{ table.first_heading }}</th>
{% for column in table.columns %}
<th scope="col">{{ column.name }}<span>{{ column.unit }} {{ {"low": "↓", "high": "↑", "": ""}[column.better] }}</span></th>
{% endfor %}
</tr></thead>
<tbody>
{% for group, rows in table.groups() %}
{% if group and not table.is_flat() %}
<tr class="group"><th colspan="{{ table.columns | length + 1 }}" scope="rowgroup">{{ group }}</th></tr>
{% endif %}
{% for row in rows %}
<tr{% if row.role %} class="{{ row.role }}"{% endif %}><th scope="row">
{%- if table.is_flat() %}{{ group }}<small>{{ row.label }}</small>{% else %}{{ row.label }}{% endif -%}
{% if row.role == "baseline" %} <span class="tag">baseline</span>{% endif -%}
</th>
{% for value in row.values %}
{% set text = format_cell(value, table.columns[loop.index0]) %}
{% set best = table.best(loop.index0, group) %}
{% set broken = text in ("NaN", "+inf", "-inf") %}
{% set first = row.role and best is not none and text == format_cell(best, table.columns[loop.index0]) %}
{% set interval = row.interval(loop.index0) %}
{% set noise = is_noise(interval, table.columns[loop.index0]) %}
<td{% if broken %} class="broken"{% elif first %} class="best"{% elif noise %} class="noise"{% endif %}>{{ text }}
{%- if interval %}<small>{{ format_interval(interval, table.columns[loop.index0]) }}</small>{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
{% endfor %}
</tbody></table></div>
{% endmacro %}
<main>
<h1>{{ content.title }}</h1>
{% if content.date %}<p class="soft">{{ content.date }}</p>{% endif %}
<p>{{ content.introduction }}</p>
<p class="verdict {{ worst }}">{{ verdict }}</p>
{% if findings %}
<ul class="findings">
{% for finding in findings %}
<li>
<span class="level {{ finding.level }}">{{ finding.level }}</span>
<span>{{ finding.text }}{% if finding.where %} <a href="#{{ finding.where }}">show</a>{% endif %}</span>
</li>
{% endfor %}
</ul>
{% endif %}
{% if content.key_numbers %}
<dl class="numbers">
{% for name, value in content.key_numbers %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endif %}
<nav aria-label="Sections">
{% for anchor, heading in headings.items() %}
<a href="#{{ anchor }}">{{ heading }}</a>
{% endfor %}
</nav>
{% if content.viewer %}
<section>
<h2 id="viewer">{{ headings.viewer }}</h2>
{% if content.viewer.text %}<p>{{ content.viewer.text }}</p>{% endif %}
<div id="viewer-root" class="viewer" data-state="still">
<div class="live">
<h3 data-part="title"></h3>
<p class="row" data-part="choice"><label>Clip <select data-part="clip"></select></label></p>
<div class="stage">
<canvas data-part="canvas" tabindex="0" role="application" aria-roledescription="3D view" aria-label="Heads side by side" aria-describedby="viewer-keys"></canvas>
<div data-part="cells" class="cells"></div>
</div>
<div data-part="bar" class="bar" hidden><div data-part="ramp" class="ramp"></div><div data-part="ticks" class="ticks"></div></div>
<p class="row">
<button type="button" data-part="play">Play</button>
<button type="button" data-part="before" aria-label="Previous expression">‹</button>
<button type="button" data-part="after" aria-label="Next expression">›</button>
<input type="range" data-part="frame" min="0" max="0" step="1" value="0" aria-label="Frame">
<span data-part="where" class="where"></span>
</p>
<div class="row">
<fieldset data-part="heads"></fieldset>
<label><input type="checkbox" data-part="errors"> errors as colours</label>
<label>up to <select data-part="limit"></select></label>
<span class="buttons">
<button type="button" data-part="closer" aria-label="Closer">+</button>
<button type="button" data-part="further" aria-label="Further away">−</button>
<button type="button" data-part="reset">From the front</button>
</span>
</div>
<p class="note" id="viewer-keys">Drag to turn, shift-drag or two fingers to move, pinch or the wheel (after a click) to zoom. Keys in the view: arrows turn,
shift and arrows move, + and − zoom, space plays, comma and full stop go from expression to expression, Home looks from the front.
Errors are distances to the truth in mm, mean and worst over the face. The heads are packed: no vertex is more than
{{ "%.3f" | format(content.viewer.accuracy | round(3, "ceil")) }} mm off.</p>
</div>
<p class="message" data-part="message"></p>
<noscript><p class="message">The moving view needs scripts. A still picture stands in its place.</p></noscript>
{{ picture(content.viewer.still) }}
</div>
<script type="application/json" id="viewer-data">{{ viewer_data }}</script>
</section>
{% endif %}
{% for anchor, section in sections.items() %}
<section>
<h2 id="{{ anchor }}">{{ headings[anchor] }}</h2>
{% if section.text %}<p>{{ section.text | with_code }}</p>{% endif %}
{% if not section.tables and not section.figures %}<p class="note">Nothing was handed to the report.</p>{% endif %}
{% for table in section.tables %}
{{ score_table(table) }}
{% endfor %}
{% for figure in section.figures %}
{{ picture(figure) }}
{% endfor %}
</section>
{% endfor %}
<section>
<h2 id="quarantine">{{ headings.quarantine }}</h2>
{% if content.quarantined %}
<p class="note">Meshes that were read but not used, each with its reason.</p>
<div class="scroll" tabindex="0"><table class="facts">
<thead><tr><th scope="col">Subject</th><th scope="col">File</th><th scope="col">Reason</th></tr></thead>
<tbody>
{% for subject, file, reason in content.quarantined %}
<tr><th scope="row">{{ subject }}</th><td>{{ file }}</td><td>{{ reason }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p class="note">None: every mesh that was read was used.</p>
{% endif %}
</section>
<section>
<h2 id="provenance">{{ headings.provenance }}</h2>
{{ facts(content.provenance) }}
{% for title, rows in folded %}
{% if rows %}
<details{{ " open" if title == "Licences" }}><summary>{{ title }} ({{ rows | length }})</summary>
{{ facts(rows) }}
</details>
{% endif %}
{% endfor %}
</section>
</main>
{% if content.viewer %}
<script>{{ script }}</script>
{% endif %}
</body>
</html>
"""
