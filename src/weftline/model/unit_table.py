"""The table of units: Rec 20 code | UCUM code | factor to the SI unit (`+` an offset added before the factor) | name.

Source: UN/ECE Recommendation No. 20, UCUM 2.1, NIST SP 811 for the factors. A line with `#` opens a dimension.
"""

from __future__ import annotations

__all__ = ["TABLE"]

TABLE = """
# mass
KGM|kg|1|kilogram
GRM|g|0.001|gram
MGM|mg|0.000001|milligram
MC|ug|0.000000001|microgram
HGM|hg|0.1|hectogram
DTN||100|decitonne
TNE|t|1000|tonne
KTN|kt|1000000|kilotonne
2U|Mg|1000|megagram
LBR|[lb_av]|0.45359237|pound
ONZ|[oz_av]|0.45359237/16|ounce
APZ|[oz_tr]|0.0311034768|troy ounce
STN|[ston_av]|907.18474|short ton
LTN|[lton_av]|1016.0469088|long ton
STI||6.35029318|stone
GRN|[gr]|0.00006479891|grain
CTM|[car_m]|0.0002|metric carat
CWA||45.359237|hundredweight (US)
CWI||50.80234544|hundredweight (UK)
F13|[slug]|14.593902937206365|slug
# length
MTR|m|1|metre
CMT|cm|0.01|centimetre
MMT|mm|0.001|millimetre
4H|um|0.000001|micrometre
C45|nm|0.000000001|nanometre
DMT|dm|0.1|decimetre
KMT|km|1000|kilometre
INH|[in_i]|0.0254|inch
FOT|[ft_i]|0.3048|foot
YRD|[yd_i]|0.9144|yard
SMI|[mi_i]|1609.344|statute mile
NMI|[nmi_i]|1852|nautical mile
77|[mil_i]|0.0000254|thousandth of an inch
# area
MTK|m2|1|square metre
CMK|cm2|0.0001|square centimetre
MMK|mm2|0.000001|square millimetre
DMK|dm2|0.01|square decimetre
KMK|km2|1000000|square kilometre
HAR|har|10000|hectare
ARE|ar|100|are
INK|[sin_i]|0.00064516|square inch
FTK|[sft_i]|0.09290304|square foot
YDK|[syd_i]|0.83612736|square yard
MIK|[smi_us]|2589988.110336|square mile
ACR|[acr_us]|4046.8564224|acre
# volume
MTQ|m3|1|cubic metre
LTR|L|0.001|litre
|l|0.001|litre (small letter)
MLT|mL|0.000001|millilitre
|ml|0.000001|millilitre (small letter)
CLT|cL|0.00001|centilitre
DLT|dL|0.0001|decilitre
4G|uL|0.000000001|microlitre
HLT|hL|0.1|hectolitre
K6|kL|1|kilolitre
CMQ|cm3|0.000001|cubic centimetre
DMQ|dm3|0.001|cubic decimetre
MMQ|mm3|0.000000001|cubic millimetre
INQ|[cin_i]|0.000016387064|cubic inch
FTQ|[cft_i]|0.028316846592|cubic foot
YDQ|[cyd_i]|0.764554857984|cubic yard
GLL|[gal_us]|0.003785411784|US gallon
GLI|[gal_br]|0.00454609|UK gallon
QTL|[qt_us]|0.000946352946|US liquid quart
PTL|[pt_us]|0.000473176473|US liquid pint
OZA|[foz_us]|0.0000295735295625|US fluid ounce
OZI|[foz_br]|0.0000284130625|UK fluid ounce
BLL|[bbl_us]|0.158987294928|barrel (US petroleum)
# time
SEC|s|1|second
C26|ms|0.001|millisecond
B98|us|0.000001|microsecond
C47|ns|0.000000001|nanosecond
MIN|min|60|minute
HUR|h|3600|hour
DAY|d|86400|day
WEE|wk|604800|week
MON|mo|2629800|month (mean)
ANN|a|31557600|year (Julian)
# temperature
KEL|K|1|kelvin
CEL|Cel|1+273.15|degree Celsius
FAH|[degF]|5/9+459.67|degree Fahrenheit
A48|[degR]|5/9|degree Rankine
# pressure
PAL|Pa|1|pascal
A97|hPa|100|hectopascal
KPA|kPa|1000|kilopascal
MPA|MPa|1000000|megapascal
A89|GPa|1000000000|gigapascal
74|mPa|0.001|millipascal
B96|uPa|0.000001|micropascal
BAR|bar|100000|bar
MBR|mbar|100|millibar
KBA|kbar|100000000|kilobar
ATM|atm|101325|standard atmosphere
ATT|att|98066.5|technical atmosphere
PS|[psi]|6894.757293168361|pound-force per square inch
UA||133.32236842105263|torr
HN|mm[Hg]|133.322387415|conventional millimetre of mercury
F79|[in_i'Hg]|3386.389|inch of mercury
F78|[in_i'H2O]|249.08891|inch of water
HP|mm[H2O]|9.80665|conventional millimetre of water
C56|N/mm2|1000000|newton per square millimetre
C55|N/m2|1|newton per square metre
E01|N/cm2|10000|newton per square centimetre
E42|kgf/cm2|98066.5|kilogram-force per square centimetre
# energy
JOU|J|1|joule
KJO|kJ|1000|kilojoule
3B|MJ|1000000|megajoule
GV|GJ|1000000000|gigajoule
D30|TJ|1000000000000|terajoule
C15|mJ|0.001|millijoule
WHR|W.h|3600|watt hour
KWH|kW.h|3600000|kilowatt hour
MWH|MW.h|3600000000|megawatt hour
GWH|GW.h|3600000000000|gigawatt hour
D32|TW.h|3600000000000000|terawatt hour
BTU|[Btu_IT]|1055.05585262|British thermal unit (international table)
E14|kcal_IT|4186.8|kilocalorie (international table)
K53|kcal_th|4184|kilocalorie (thermochemical)
D35|cal_th|4.184|calorie (thermochemical)
D70|cal_IT|4.1868|calorie (international table)
A53|eV|0.0000000000000000001602176634|electronvolt
85|[ft_i].[lbf_av]|1.3558179483314004|foot pound-force
N71|[thm_EC]|105505585.262|therm (EC)
# power
WTT|W|1|watt
KWT|kW|1000|kilowatt
MAW|MW|1000000|megawatt
A90|GW|1000000000|gigawatt
C31|mW|0.001|milliwatt
D80|uW|0.000001|microwatt
HJ||735.49875|metric horsepower
BHP|[HP]|745.6998715822702|brake horsepower
2I|[Btu_IT]/h|1055.05585262/3600|British thermal unit per hour
K42||9809.5|boiler horsepower
K15|[ft_i].[lbf_av]/h|1.3558179483314004/3600|foot pound-force per hour
E15|kcal_th/h|4184/3600|kilocalorie (thermochemical) per hour
|J/s|1|joule per second
# apparent power
D46|V.A|1|volt-ampere
KVA|kV.A|1000|kilovolt-ampere
MVA|MV.A|1000000|megavolt-ampere
# reactive power
D44|var|1|var
KVR|kvar|1000|kilovar
MAR|Mvar|1000000|megavar
# reactive energy
|var.h|1|var hour
K3|kvar.h|1000|kilovar hour
MAH|Mvar.h|1000000|megavar hour
# apparent energy
|V.A.h|1|volt-ampere hour
C79|kV.A.h|1000|kilovolt-ampere hour
# volume flow
MQS|m3/s|1|cubic metre per second
MQH|m3/h|1/3600|cubic metre per hour
G53|m3/min|1/60|cubic metre per minute
G52|m3/d|1/86400|cubic metre per day
G51|L/s|0.001|litre per second
L2|L/min|0.001/60|litre per minute
E32|L/h|0.001/3600|litre per hour
LD|L/d|0.001/86400|litre per day
41|mL/min|0.000001/60|millilitre per minute
40|mL/s|0.000001|millilitre per second
G55|mL/h|0.000001/3600|millilitre per hour
2J|cm3/s|0.000001|cubic centimetre per second
G49|cm3/min|0.000001/60|cubic centimetre per minute
G48|cm3/h|0.000001/3600|cubic centimetre per hour
2L|[cft_i]/min|0.028316846592/60|cubic foot per minute
2K|[cft_i]/h|0.028316846592/3600|cubic foot per hour
E17|[cft_i]/s|0.028316846592|cubic foot per second
G2|[gal_us]/min|0.003785411784/60|US gallon per minute
G3|[gal_br]/min|0.00454609/60|UK gallon per minute
G50|[gal_us]/h|0.003785411784/3600|US gallon per hour
# mass flow
KGS|kg/s|1|kilogram per second
F31|kg/min|1/60|kilogram per minute
E93|kg/h|1/3600|kilogram per hour
F30|kg/d|1/86400|kilogram per day
F26|g/d|0.001/86400|gram per day
F27|g/h|0.001/3600|gram per hour
F28|g/min|0.001/60|gram per minute
F29|g/s|0.001|gram per second
E18|t/h|1000/3600|tonne per hour
4M|mg/h|0.000001/3600|milligram per hour
4U|[lb_av]/h|0.45359237/3600|pound per hour
K78|[lb_av]/min|0.45359237/60|pound per minute
K81|[lb_av]/s|0.45359237|pound per second
# speed
MTS|m/s|1|metre per second
2X|m/min|1/60|metre per minute
M60|m/h|1/3600|metre per hour
KMH|km/h|1000/3600|kilometre per hour
M62|km/s|1000|kilometre per second
C16|mm/s|0.001|millimetre per second
H81|mm/min|0.001/60|millimetre per minute
H67|mm/h|0.001/3600|millimetre per hour
2M|cm/s|0.01|centimetre per second
H49|cm/h|0.01/3600|centimetre per hour
IU|[in_i]/s|0.0254|inch per second
M63|[in_i]/min|0.0254/60|inch per minute
FS|[ft_i]/s|0.3048|foot per second
FR|[ft_i]/min|0.3048/60|foot per minute
K14|[ft_i]/h|0.3048/3600|foot per hour
HM|[mi_i]/h|1609.344/3600|mile per hour
KNT|[kn_i]|1852/3600|knot
# acceleration
MSK|m/s2|1|metre per second squared
C11|mGal|0.00001|milligal
A76|Gal|0.01|gal
A73|[ft_i]/s2|0.3048|foot per second squared
|[g]|9.80665|standard acceleration of free fall
M38|km/s2|1000|kilometre per second squared
M39|cm/s2|0.01|centimetre per second squared
M41|mm/s2|0.001|millimetre per second squared
# rotational speed
RPS|{rev}/s|1|revolution per second
RPM|{rev}/min|1/60|revolution per minute
|/min|1/60|per minute
# angular velocity
2A|rad/s|1|radian per second
E96|deg/s|0.017453292519943295|degree per second
# angle
C81|rad|1|radian
C25|mrad|0.001|milliradian
DD|deg|0.017453292519943295|degree
D61|'|0.017453292519943295/60|minute of arc
D62|''|0.017453292519943295/3600|second of arc
A91|gon|0.015707963267948967|gon
M44|{rev}|6.283185307179586|revolution
# frequency
HTZ|Hz|1|hertz
KHZ|kHz|1000|kilohertz
MHZ|MHz|1000000|megahertz
A86|GHz|1000000000|gigahertz
D29|THz|1000000000000|terahertz
C97|/s|1|reciprocal second
C94|{1}/min|1/60|reciprocal minute
H10||1/3600|reciprocal hour
# torque
NU|N.m|1|newton metre
B48|kN.m|1000|kilonewton metre
B74|MN.m|1000000|meganewton metre
F88|N.cm|0.01|newton centimetre
D83|mN.m|0.001|millinewton metre
B93|uN.m|0.000001|micronewton metre
M92|[lbf_av].[ft_i]|1.3558179483314004|pound-force foot
F21|[lbf_av].[in_i]|0.1129848290276167|pound-force inch
|[ozf_av].[in_i]|0.007061551814226044|ounce-force inch
B38|kgf.m|9.80665|kilogram-force metre
# force
NEW|N|1|newton
B47|kN|1000|kilonewton
B73|MN|1000000|meganewton
C20|mN|0.001|millinewton
B92|uN|0.000001|micronewton
B37|kgf|9.80665|kilogram-force
C78|[lbf_av]|4.4482216152605|pound-force
L40|[ozf_av]|0.27801385095378125|ounce-force
DU|dyn|0.00001|dyne
# electric current
AMP|A|1|ampere
4K|mA|0.001|milliampere
B84|uA|0.000001|microampere
C39|nA|0.000000001|nanoampere
B22|kA|1000|kiloampere
H38|MA|1000000|megaampere
# voltage
VLT|V|1|volt
2Z|mV|0.001|millivolt
D82|uV|0.000001|microvolt
KVT|kV|1000|kilovolt
B78|MV|1000000|megavolt
# electric resistance
OHM|Ohm|1|ohm
E45|mOhm|0.001|milliohm
B94|uOhm|0.000001|microohm
B49|kOhm|1000|kiloohm
A87|GOhm|1000000000|gigaohm
# electric conductance
SIE|S|1|siemens
C27|mS|0.001|millisiemens
B99|uS|0.000001|microsiemens
B53|kS|1000|kilosiemens
# conductivity
D10|S/m|1|siemens per metre
H61|mS/cm|0.1|millisiemens per centimetre
G42|uS/cm|0.0001|microsiemens per centimetre
G43|uS/m|0.000001|microsiemens per metre
H43|S/cm|100|siemens per centimetre
# capacitance
FAR|F|1|farad
C10|mF|0.001|millifarad
4O|uF|0.000001|microfarad
C41|nF|0.000000001|nanofarad
4T|pF|0.000000000001|picofarad
# inductance
81|H|1|henry
C14|mH|0.001|millihenry
B90|uH|0.000001|microhenry
C43|nH|0.000000001|nanohenry
# electric charge
COU|C|1|coulomb
B26|kC|1000|kilocoulomb
D86|mC|0.001|millicoulomb
B86|uC|0.000001|microcoulomb
C40|nC|0.000000001|nanocoulomb
AMH|A.h|3600|ampere hour
E09|mA.h|3.6|milliampere hour
TAH|kA.h|3600000|kiloampere hour
# magnetic flux density
D33|T|1|tesla
C29|mT|0.001|millitesla
D81|uT|0.000001|microtesla
# magnetic flux
WEB|Wb|1|weber
C33|mWb|0.001|milliweber
# density
KMQ|kg/m3|1|kilogram per cubic metre
23|g/cm3|1000|gram per cubic centimetre
A93|g/m3|0.001|gram per cubic metre
GL|g/L|1|gram per litre
B35|kg/L|1000|kilogram per litre
M1|mg/L|0.001|milligram per litre
GP|mg/m3|0.000001|milligram per cubic metre
GQ|ug/m3|0.000000001|microgram per cubic metre
H29|ug/L|0.000001|microgram per litre
D41|t/m3|1000|tonne per cubic metre
87|[lb_av]/[cft_i]|16.018463373960142|pound per cubic foot
GE|[lb_av]/[gal_us]|119.82642731689663|pound per US gallon
# dynamic viscosity
C65|Pa.s|1|pascal second
C24|mPa.s|0.001|millipascal second
89|P|0.1|poise
C7|cP|0.001|centipoise
N36|N.s/m2|1|newton second per square metre
# kinematic viscosity
S4|m2/s|1|square metre per second
C17|mm2/s|0.000001|square millimetre per second
91|St|0.0001|stokes
4C|cSt|0.000001|centistokes
# surface density
28|kg/m2|1|kilogram per square metre
GM|g/m2|0.001|gram per square metre
ON|[oz_av]/[syd_i]|0.033905747|ounce per square yard
# linear density
KL|kg/m|1|kilogram per metre
GF|g/m|0.001|gram per metre
D34|tex|0.000001|tex
A49|[den]|1/9000000|denier
P2|[lb_av]/[ft_i]|1.4881639435695537|pound per foot
# specific energy
J2|J/kg|1|joule per kilogram
B42|kJ/kg|1000|kilojoule per kilogram
JK|MJ/kg|1000000|megajoule per kilogram
|kW.h/kg|3600000|kilowatt hour per kilogram
|kW.h/t|3600|kilowatt hour per tonne
# thermal conductivity
D53|W/(m.K)|1|watt per metre kelvin
# irradiance
D54|W/m2|1|watt per square metre
# electric field
D50|V/m|1|volt per metre
# spring rate
4P|N/m|1|newton per metre
F47|N/mm|1000|newton per millimetre
# amount of substance
C34|mol|1|mole
C18|mmol|0.001|millimole
FH|umol|0.000001|micromole
B45|kmol|1000|kilomole
# amount concentration
C36|mol/m3|1|mole per cubic metre
C38|mol/L|1000|mole per litre
M33|mmol/L|1|millimole per litre
# luminous intensity
CDL|cd|1|candela
# luminous flux
LUM|lm|1|lumen
# illuminance
LUX|lx|1|lux
# radioactivity
BQL|Bq|1|becquerel
CUR|Ci|37000000000|curie
# absorbed dose
A95|Gy|1|gray
# dose equivalent
D13|Sv|1|sievert
C28|mSv|0.001|millisievert
# sound level
2N|dB|1|decibel
# acidity
Q30|[pH]|1|pH
# turbidity
NTU|[NTU]|1|nephelometric turbidity unit
# ratio
C62|1|1|one
P1|%|0.01|percent
59|[ppm]|0.000001|part per million
61|[ppb]|0.000000001|part per billion
NX|[ppth]|0.001|part per thousand
# humidity
|%{RH}|0.01|percent relative humidity
# information
AD|By|8|byte
A99|bit|1|bit
2P|kBy|8000|kilobyte
4L|MBy|8000000|megabyte
E34|GBy|8000000000|gigabyte
C37|kbit|1000|kilobit
D36|Mbit|1000000|megabit
# data rate
B80|Gbit/s|1000000000|gigabit per second
C74|kbit/s|1000|kilobit per second
E20|Mbit/s|1000000|megabit per second
B10|bit/s|1|bit per second
P93|By/s|8|byte per second
P94|kBy/s|8000|kilobyte per second
# pieces
H87|{piece}|1|piece
EA|{each}|1|each
NMP||1|number of packs
PR|{pair}|2|pair
DZN|{dozen}|12|dozen
GRO|{gross}|144|gross
GGR||1728|great gross
SCO||20|score
CEN||100|hundred
MIL||1000|thousand
MIO||1000000|million
HD||6|half dozen
NIU||1|number of international units
NAR||1|number of articles
# set
SET|{set}|1|set
KT|{kit}|1|kit
# package
XBX|{box}|1|box
XCT|{carton}|1|carton
XPX|{pallet}|1|pallet
XPK|{package}|1|package
XBG|{bag}|1|bag
XDR|{drum}|1|drum
XRL|{reel}|1|reel
XRO|{roll}|1|roll
XCR|{crate}|1|crate
XCS|{case}|1|case
XCN|{container}|1|container
XBE|{bundle}|1|bundle
XCY|{cylinder}|1|cylinder
XTY|{tank}|1|tank
XST|{sheet}|1|sheet
XSA|{sack}|1|sack
XTR|{trunk}|1|trunk
XBA|{barrel}|1|barrel
XPC|{parcel}|1|parcel
XPU|{tray}|1|tray
XBJ|{bucket}|1|bucket
XIB|{ibc}|1|intermediate bulk container
LO|{lot}|1|lot
# cycles
B7|{cycle}|1|cycle
# shots
14|{shot}|1|shot
# production rate
|{piece}/s|1|piece per second
|{piece}/min|1/60|piece per minute
|{piece}/h|1/3600|piece per hour
# emission intensity
|kg{CO2e}/{piece}|1|kilogram CO2 equivalent per piece
# emission
|kg{CO2e}|1|kilogram CO2 equivalent
|t{CO2e}|1000|tonne CO2 equivalent
"""
